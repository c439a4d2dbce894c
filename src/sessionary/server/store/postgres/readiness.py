"""Readiness: whether a write would succeed. A cheap check while all is well, a trial write after an error."""

import asyncio
import math
import os
from collections.abc import Sequence
from typing import Final

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.postgres.connections import Connection

_TRUSTED_SECONDS: Final = 2.0
_FILLER_BYTES: Final = 64 * 1024
"""More than fits into a page that has room: on a full disk the trial write fails."""
_RIGHTS: Final = {
    "sessions": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "message_blocks": ("SELECT", "INSERT", "DELETE"),
    "keys": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "audit": ("SELECT", "INSERT", "DELETE"),
    "tokens": ("SELECT", "INSERT", "UPDATE"),
    "schema_migrations": ("SELECT",),
}


class _RollbackError(Exception):
    """Raised to roll back the trial write."""


class Readiness:
    """Checks whether the database accepts writes; called by one task at a time."""

    def __init__(self, url: str, seconds_max: float, connections: Sequence[Connection]) -> None:
        """Watch the connections; after an error on one of them a write is tried on a new one."""
        self._url: Final = url
        self._seconds_max: Final = seconds_max
        self._connections: Final = connections
        self._checked_at = -math.inf

    async def check(self, connection: Connection) -> None:
        """Return if a write would succeed; raises StoreUnavailableError with the reason, or as ``Connection.call``."""
        if any(watched.trouble for watched in self._connections):
            await self._check_new_connection()
        elif asyncio.get_running_loop().time() - self._checked_at < _TRUSTED_SECONDS:
            await connection.call("ping")
        else:
            await connection.check_schema()
            await check_rights(connection)
            self._checked_at = asyncio.get_running_loop().time()

    async def _check_new_connection(self) -> None:
        connection = Connection(self._url, self._seconds_max)
        try:
            await connection.check_schema()
            await check_rights(connection)
            await _try_write(connection)
        except _RollbackError:
            for watched in self._connections:
                watched.trouble = ""
        finally:
            await connection.close()


async def _try_write(connection: Connection) -> None:
    async with connection.transaction():
        await connection.call("try_write", {"filler": os.urandom(_FILLER_BYTES)})
        raise _RollbackError


async def check_rights(connection: Connection) -> None:
    """Raise StoreUnavailableError if the database is read-only or the role lacks a right, and say so."""
    rights = [(table, right) for table, listed in _RIGHTS.items() for right in listed]
    named = {"table": [table for table, _ in rights], "privilege": [right for _, right in rights]}
    (state,) = await connection.call("can_write", named)
    if state["read_only"]:
        reason = "the database is read-only (default_transaction_read_only)"
        raise StoreUnavailableError(reason=reason, unchanged=True, unreachable=True)
    if state["missing"]:
        raise StoreUnavailableError(reason=f"the role lacks rights: {state['missing']}", unchanged=True)
