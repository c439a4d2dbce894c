"""Sweeping: expired sessions go, a bounded number in each transaction."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from sessionary.constants import AUDIT_RETENTION_MILLISECONDS, MESSAGES_PER_SESSION_MAX
from sessionary.server.store.base import Clock, Swept, UsagePage
from sessionary.server.store.postgres.connections import Connection
from sessionary.server.store.postgres.rows import from_deleted

_MESSAGES_MAX: Final = MESSAGES_PER_SESSION_MAX
"""One transaction removes the turns of about so many messages, whatever the number of sessions."""


class Sweeper:
    """Removes what has expired, beside other servers that do the same."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        """Own a connection."""
        self._connection: Final = connection
        self._clock: Final = clock

    async def sweep(self, limit: int) -> Swept:
        """Remove at most ``limit`` expired sessions ``limit`` outdated keys, and ``limit`` old audit records."""
        bindings = {"now": self._clock(), "limit": limit}
        async with self._connection.transaction():
            due = await self._connection.call("sweep_due", bindings)
            alive = [row for row in due if row["expires_at"] > bindings["now"]]
            expired = [row for row in due if row["expires_at"] <= bindings["now"]]
            gone = _some(expired)
            # In statements of their own: only those that begin once the sessions are locked see all of their turns.
            if alive:
                later = {"organisation": _column(alive, "organisation"), "id": _column(alive, "id")}
                await self._connection.call("sweep_later", later)
            if gone:
                removed = from_deleted(_column(gone, "organisation"), _column(gone, "id"), _column(gone, "version"))
                await self._connection.call("delete_turns", removed)
                await self._connection.call("delete_sessions", removed)
            keys = await self._connection.call("sweep_keys", bindings)
            old = {"before": self._clock() - AUDIT_RETENTION_MILLISECONDS, "limit": limit}
            audit = await self._connection.call("sweep_audit", old)
        more = limit in {len(due), len(keys), len(audit)} or len(gone) < len(expired)
        return Swept(removed=len(gone), more=more)

    async def measure_usage(self, organisation: str, after: str, limit: int) -> UsagePage:
        """Count the live sessions and their bytes of a page: here, because nobody minds if it takes long."""
        bindings = {"organisation": organisation, "after": after, "limit": limit, "now": self._clock()}
        (row,) = await self._connection.call("measure_usage", bindings)
        return UsagePage(row["sessions"], row["stored_bytes"], row["last"] if row["read"] == limit else None)


def _some(sessions: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
    """Take the first sessions, at least one, as long as they hold not too many messages together."""
    messages = 0
    for count, session in enumerate(sessions):
        messages += session["total_messages"]
        if count and messages > _MESSAGES_MAX:
            return sessions[:count]
    return sessions


def _column(rows: Sequence[asyncpg.Record], name: str) -> list[object]:
    return [row[name] for row in rows]
