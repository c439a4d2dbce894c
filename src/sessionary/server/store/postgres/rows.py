"""Convert between rows and the structs of the contract: ``bind_…`` makes parameters, ``to_…`` reads rows."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import asyncpg

from sessionary.server.store.base import AuditRecord, StoredKey, StoredSession
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
_KEYS: Final = _getters("new_key", "organisation", "principal", "command", "key", "fingerprint", "effect", "expires_at")
_AUDIT: Final = _getters("audit", "at", "organisation", "actor", "action", "subject")


def bind_write_batch(result: BatchResult, stored: Mapping[SessionKey, StoredSession], now: int) -> dict[str, Any]:
    """Bind everything a batch writes, the versions of the sessions that were read, and the time of the batch."""
    return {
        "now": now,
        **bind_deleted(
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
        **bind_audit(result.audit),
    }


def bind_audit(records: Sequence[AuditRecord]) -> Columns:
    """Bind audit records."""
    return _columns(_AUDIT, records)


def bind_deleted(organisations: list[Any], ids: list[Any], versions: list[Any]) -> Columns:
    """Bind sessions to delete, each with the version it must have."""
    return {"deleted_organisation": organisations, "deleted_id": ids, "deleted_read_version": versions}


def bind_session_keys(sessions: Mapping[SessionKey, bool]) -> Columns:
    """Bind the sessions a batch names, and whether it needs their metadata."""
    return {
        "organisation": [organisation for organisation, _ in sessions],
        "id": [session_id for _, session_id in sessions],
        "with_metadata": list(sessions.values()),
    }


def bind_key_ids(key_ids: Collection[IdempotencyKeyId]) -> Columns:
    """Bind the ids of idempotency keys."""
    return {
        "key_organisation": [key_id[0] for key_id in key_ids],
        "key_principal": [key_id[1] for key_id in key_ids],
        "key_command": [key_id[2] for key_id in key_ids],
        "key_key": [key_id[3] for key_id in key_ids],
    }


def _columns(getters: Getters, rows: Iterable[object]) -> Columns:
    return {name: list(map(get, rows)) for name, get in getters}


def to_session(organisation: str, session_id: str, row: asyncpg.Record) -> StoredSession:
    """Convert a row of ``read_batch``: its columns after the ordinal are in the order of the fields."""
    return StoredSession(organisation, session_id, *row[1:15])


def to_key(key_id: IdempotencyKeyId, row: asyncpg.Record) -> StoredKey:
    """Convert the columns of an idempotency key."""
    return StoredKey(*key_id, row["fingerprint"], row["effect"], row["key_expires_at"])


def to_audit(row: asyncpg.Record) -> AuditRecord:
    """Convert a row of audit."""
    return AuditRecord(**dict(row))
