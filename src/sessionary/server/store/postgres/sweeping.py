"""Sweeping: delete expired sessions, a bounded number in each transaction."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from sessionary.constants import AUDIT_RETENTION_MILLISECONDS, MESSAGES_PER_SESSION_MAX
from sessionary.server.store.base import Clock, SweepResult, UsagePage
from sessionary.server.store.postgres.connections import Connection
from sessionary.server.store.postgres.rows import bind_deleted

_MESSAGES_MAX: Final = MESSAGES_PER_SESSION_MAX
"""One transaction deletes about so many messages, whatever the number of sessions."""


class Sweeper:
    """Deletes what has expired; several servers may do so at the same time."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        """Own a connection."""
        self._connection: Final = connection
        self._clock: Final = clock

    async def sweep(self, limit: int) -> SweepResult:
        """Delete expired sessions, expired idempotency keys and old audit records, at most ``limit`` of each."""
        bindings = {"now": self._clock(), "limit": limit}
        async with self._connection.transaction():
            due = await self._connection.call("sweep_due", bindings)
            alive = [row for row in due if row["expires_at"] > bindings["now"]]
            expired = [row for row in due if row["expires_at"] <= bindings["now"]]
            deleted = _within_messages_max(expired)
            # Separate statements: only one that starts after the sessions are locked sees all of their blocks.
            if alive:
                later = {"organisation": _column(alive, "organisation"), "id": _column(alive, "id")}
                await self._connection.call("sweep_later", later)
            if deleted:
                bindings_deleted = bind_deleted(
                    _column(deleted, "organisation"), _column(deleted, "id"), _column(deleted, "version")
                )
                await self._connection.call("delete_blocks", bindings_deleted)
                await self._connection.call("delete_sessions", bindings_deleted)
            keys = await self._connection.call("sweep_keys", bindings)
            old = {"before": self._clock() - AUDIT_RETENTION_MILLISECONDS, "limit": limit}
            audit = await self._connection.call("sweep_audit", old)
        more = limit in {len(due), len(keys), len(audit)} or len(deleted) < len(expired)
        return SweepResult(removed=len(deleted), more=more)

    async def measure_usage(self, organisation: str, after: str, limit: int) -> UsagePage:
        """Count the live sessions of a page and their bytes: on this connection, where it may take long."""
        bindings = {"organisation": organisation, "after": after, "limit": limit, "now": self._clock()}
        (row,) = await self._connection.call("measure_usage", bindings)
        return UsagePage(row["sessions"], row["stored_bytes"], row["last"] if row["read"] == limit else None)


def _within_messages_max(sessions: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
    """Return the first sessions, at least one, that together hold at most ``_MESSAGES_MAX`` messages."""
    messages = 0
    for count, session in enumerate(sessions):
        messages += session["total_messages"]
        if count and messages > _MESSAGES_MAX:
            return sessions[:count]
    return sessions


def _column(rows: Sequence[asyncpg.Record], name: str) -> list[object]:
    return [row[name] for row in rows]
