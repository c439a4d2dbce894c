"""Tokens: found in batches, kept one at a time."""

from collections.abc import Sequence
from typing import Final

from sessionary.errors import TokenNotFound
from sessionary.store.base import Clock, StoredToken
from sessionary.store.postgres.connections import Connection
from sessionary.store.postgres.rows import from_token, to_token


class Tokens:
    """Keeps tokens, on a connection of its own."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        """Own a connection."""
        self._connection: Final = connection
        self._clock: Final = clock

    async def create(self, token: StoredToken) -> None:
        """Keep a token."""
        await self._connection.call("insert_token", from_token(token), commits=True)

    async def find(self, token_ids: Sequence[str]) -> list[StoredToken | None]:
        """Read tokens."""
        rows = await self._connection.call("find_tokens", {"id": token_ids})
        found = {row["id"]: to_token(row) for row in rows}
        return [found.get(token_id) for token_id in token_ids]

    async def list(self, limit: int, after: str) -> list[StoredToken]:
        """Read a page of tokens."""
        rows = await self._connection.call("list_tokens", {"limit": limit, "after": after})
        return [to_token(row) for row in rows]

    async def revoke(self, token_id: str) -> StoredToken:
        """Revoke a token; raises TokenNotFound."""
        bindings = {"id": token_id, "now": self._clock()}
        rows = await self._connection.call("revoke_token", bindings, commits=True)
        if not rows:
            raise TokenNotFound
        return to_token(rows[0])

    async def ping(self) -> None:
        """Ask for one row of the sessions."""
        await self._connection.call("ping")
