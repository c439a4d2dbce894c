"""Between rows and what the contract speaks of."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import asyncpg

from sessionary.server.store.base import AuditRecord, StoredKey, StoredSession, StoredToken
from sessionary.server.store.rules import BatchResult, IdempotencyKeyId, SessionKey
from sessionary.server.store.summaries import encode_summary

Columns = dict[str, list[Any]]
Getters = tuple[tuple[str, Callable[[Any], Any]], ...]


def _getters(prefix: str, *fields: str) -> Getters:
    return tuple((f"{prefix}_{field}", attrgetter(field)) for field in fields)


_INSERTED: Final = _getters(
    "inserted",
    *("organisation", "id", "user_id", "session_group", "title", "model", "status", "user_spoke"),
    *("total_messages", "total_tokens", "total_bytes"),
    *("created_at", "updated_at", "expires_at", "version", "metadata"),
)
_UPDATED: Final = _getters(
    "updated",
    *("organisation", "id", "title", "model", "status", "user_spoke"),
    *("total_messages", "total_tokens", "total_bytes"),
    *("updated_at", "expires_at", "version", "metadata"),
)
_BLOCKS: Final = _getters("block", "organisation", "session_id", "first", "count", "tokens", "created_at", "body")
_KEYS: Final = _getters("kept", "organisation", "principal", "command", "key", "fingerprint", "effect", "expires_at")
_AUDIT: Final = _getters("noted", "at", "organisation", "actor", "action", "subject")


def from_batch_result(result: BatchResult, stored: Mapping[SessionKey, StoredSession], now: int) -> dict[str, Any]:
    """Bind everything a batch writes, and the versions and the instant it was decided on."""
    return {
        "now": now,
        **from_deleted(
            [organisation for organisation, _ in result.deleted],
            [session_id for _, session_id in result.deleted],
            [stored[key].version for key in result.deleted],
        ),
        **_columns(_INSERTED, result.inserted),
        "inserted_summary": list(map(encode_summary, result.inserted)),
        **_columns(_UPDATED, result.updated),
        "updated_summary": list(map(encode_summary, result.updated)),
        "updated_read_version": [stored[row.organisation, row.id].version for row in result.updated],
        **_columns(_BLOCKS, result.blocks),
        **_columns(_KEYS, result.keys),
        **from_audit(result.audit),
    }


def from_audit(records: Sequence[AuditRecord]) -> Columns:
    """Bind audit records."""
    return _columns(_AUDIT, records)


def from_deleted(organisations: list[Any], ids: list[Any], versions: list[Any]) -> Columns:
    """Bind sessions that are to be deleted at the versions they have."""
    return {"deleted_organisation": organisations, "deleted_id": ids, "deleted_read_version": versions}


def from_sessions_wanted(wanted: Mapping[SessionKey, bool]) -> Columns:
    """Bind the sessions a batch names, and whether it needs their metadata."""
    return {
        "organisation": [organisation for organisation, _ in wanted],
        "id": [session_id for _, session_id in wanted],
        "with_metadata": list(wanted.values()),
    }


def from_keys_wanted(names: Collection[IdempotencyKeyId]) -> Columns:
    """Bind the keys a batch names."""
    return {
        "key_organisation": [name[0] for name in names],
        "key_principal": [name[1] for name in names],
        "key_command": [name[2] for name in names],
        "key_key": [name[3] for name in names],
    }


def _columns(getters: Getters, rows: Iterable[object]) -> Columns:
    return {name: list(map(get, rows)) for name, get in getters}


def to_session(organisation: str, session_id: str, row: asyncpg.Record) -> StoredSession:
    """Read the columns from ``user_id`` to ``metadata``: after a place, in the order of the fields."""
    return StoredSession(organisation, session_id, *row[1:15])


def to_key(name: IdempotencyKeyId, row: asyncpg.Record) -> StoredKey:
    """Read a key."""
    return StoredKey(*name, row["fingerprint"], row["effect"], row["key_expires_at"])


def to_audit(row: asyncpg.Record) -> AuditRecord:
    """Read every column of an audit record."""
    return AuditRecord(**dict(row))


def to_token(row: asyncpg.Record) -> StoredToken:
    """Read every column of a token."""
    return StoredToken(
        id=row["id"],
        organisation=row["organisation"],
        name=row["name"],
        scopes=tuple(row["scopes"].split()),
        secret_hash=row["secret_hash"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )


def from_token(token: StoredToken) -> dict[str, object]:
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
