"""Between rows and what the contract speaks of."""

from typing import Any

from msgspec.structs import asdict

from sessionary.server.store.base import AuditRecord, MessageBlock, StoredSession
from sessionary.server.store.summaries import encode_summary

Row = tuple[Any, ...]
Bindings = dict[str, Any]


def id_to_bytes(session_id: str) -> bytes:
    """Turn a hyphenated UUID into the 16 bytes that sort as it does."""
    return bytes.fromhex(session_id.replace("-", ""))


def id_from_bytes(session_id: bytes) -> str:
    """Turn 16 bytes into a hyphenated UUID in lower case."""
    digits = session_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def to_session(organisation: str, session_id: str, row: Row) -> StoredSession:
    """Read the columns from ``user_id`` to ``metadata``, which stand in the order of the fields."""
    return StoredSession(organisation, session_id, *row)


def from_session(session: StoredSession) -> Bindings:
    """Bind every column of a session."""
    return asdict(session) | {"id": id_to_bytes(session.id), "summary": encode_summary(session)}


def from_block(block: MessageBlock) -> Bindings:
    """Bind every column of a block."""
    return asdict(block) | {"session_id": id_to_bytes(block.session_id)}


def to_audit(row: Row) -> AuditRecord:
    """Read every column of an audit record."""
    number, at, organisation, actor, action, subject = row
    return AuditRecord(number=number, at=at, organisation=organisation, actor=actor, action=action, subject=subject)
