"""Between rows and what the contract speaks of."""

from typing import Any

from sessionary.server.store.base import AuditRecord, MessageBlock, StoredKey, StoredSession, StoredToken
from sessionary.server.store.summaries import encode_summary

Row = tuple[Any, ...]
Bindings = dict[str, Any]


def id_to_bytes(session_id: str) -> bytes:
    """Turn a hyphenated UUID into the 16 bytes that sort as it does."""
    return bytes.fromhex(session_id.replace("-", ""))


def id_from_bytes(session_id: bytes) -> str:
    """MessageBlock 16 bytes into a hyphenated UUID, lower case."""
    digits = session_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def to_session(organisation: str, session_id: str, row: Row) -> StoredSession:
    """Read the columns from ``user_id`` to ``metadata``, which stand in the order of the fields."""
    return StoredSession(organisation, session_id, *row)


def from_session(session: StoredSession) -> Bindings:
    """Bind every column of a session."""
    return {
        "organisation": session.organisation,
        "id": id_to_bytes(session.id),
        "user_id": session.user_id,
        "session_group": session.session_group,
        "title": session.title,
        "model": session.model,
        "status": session.status,
        "user_spoke": session.user_spoke,
        "total_messages": session.total_messages,
        "total_tokens": session.total_tokens,
        "total_bytes": session.total_bytes,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "expires_at": session.expires_at,
        "version": session.version,
        "summary": encode_summary(session),
        "metadata": session.metadata,
    }


def from_block(block: MessageBlock) -> Bindings:
    """Bind every column of a block."""
    return {
        "organisation": block.organisation,
        "session_id": id_to_bytes(block.session_id),
        "first": block.first,
        "count": block.count,
        "tokens": block.tokens,
        "created_at": block.created_at,
        "body": block.body,
    }


def from_key(key: StoredKey) -> Bindings:
    """Bind every column of a key."""
    return {
        "organisation": key.organisation,
        "principal": key.principal,
        "command": key.command,
        "key": key.key,
        "fingerprint": key.fingerprint,
        "effect": key.effect,
        "expires_at": key.expires_at,
    }


def from_audit(record: AuditRecord) -> Bindings:
    """Bind every column of an audit record but its number."""
    return {
        "at": record.at,
        "organisation": record.organisation,
        "actor": record.actor,
        "action": record.action,
        "subject": record.subject,
    }


def to_audit(row: Row) -> AuditRecord:
    """Read every column of an audit record."""
    number, at, organisation, actor, action, subject = row
    return AuditRecord(number=number, at=at, organisation=organisation, actor=actor, action=action, subject=subject)


def to_token(row: Row) -> StoredToken:
    """Read every column of a token."""
    return StoredToken(
        id=row[0],
        organisation=row[1],
        name=row[2],
        scopes=tuple(row[3].split()),
        secret_hash=row[4],
        created_at=row[5],
        expires_at=row[6],
        revoked_at=row[7],
        last_used_at=row[8],
    )


def from_token(token: StoredToken) -> Bindings:
    """Bind every column of a token."""
    return {
        "id": token.id,
        "organisation": token.organisation,
        "name": token.name,
        "scopes": " ".join(token.scopes),
        "secret_hash": token.secret_hash,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    }
