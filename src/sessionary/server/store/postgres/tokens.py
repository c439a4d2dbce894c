"""Tokens, which are read in batches and changed one at a time, and audit records."""

from collections.abc import Mapping, Sequence
from typing import Final

from sessionary.errors import TokenNotFoundError
from sessionary.server.store.base import AuditRecord, Clock, StoredToken
from sessionary.server.store.postgres.connections import Connection
from sessionary.server.store.postgres.rows import bind_audit, to_audit
from sessionary.server.store.token_rows import bind_token, to_token, token_audit_record

# The class has a method named list.
Records = list[AuditRecord]


class Tokens:
    """Reads and changes tokens on a connection of its own."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        """Own a connection."""
        self._connection: Final = connection
        self._clock: Final = clock

    async def create(self, token: StoredToken, actor: str) -> None:
        """Store a token, and who created it."""
        async with self._connection.transaction():
            await self._connection.call("insert_token", bind_token(token))
            record = token_audit_record("create_token", token, actor)
            await self._connection.call("insert_audit", bind_audit([record]))

    async def find(self, token_ids: Sequence[str]) -> list[StoredToken | None]:
        """Read tokens."""
        rows = await self._connection.call("find_tokens", {"id": token_ids})
        found = {row["id"]: to_token(row) for row in rows}
        return [found.get(token_id) for token_id in token_ids]

    async def list(self, limit: int, after: str) -> list[StoredToken]:
        """Read a page of tokens."""
        rows = await self._connection.call("list_tokens", {"limit": limit, "after": after})
        return [to_token(row) for row in rows]

    async def revoke(self, token_id: str, actor: str) -> StoredToken:
        """Revoke a token, unless it is revoked, and store who did; raises TokenNotFoundError."""
        async with self._connection.transaction():
            rows = await self._connection.call("revoke_token", {"id": token_id, "now": self._clock()})
            if rows:
                record = token_audit_record("revoke_token", to_token(rows[0]), actor)
                await self._connection.call("insert_audit", bind_audit([record]))
        (token,) = [to_token(row) for row in rows] or await self.find([token_id])
        if token is None:
            raise TokenNotFoundError
        return token

    async def use(self, used_at: Mapping[str, int]) -> None:
        """Store when tokens were last used, in the order of their ids, so that two servers do not deadlock."""
        ids = sorted(used_at)
        bindings = {"id": ids, "used_at": [used_at[token_id] for token_id in ids]}
        await self._connection.call("use_tokens", bindings, commits=True)

    async def note(self, record: AuditRecord) -> None:
        """Store an audit record."""
        async with self._connection.transaction():
            await self._connection.call("insert_audit", bind_audit([record]))

    async def list_audit(self, limit: int, after: int) -> Records:
        """Read audit records."""
        rows = await self._connection.call("list_audit", {"limit": limit, "after": after})
        return [to_audit(row) for row in rows]

    async def ping(self) -> None:
        """Read one session."""
        await self._connection.call("ping")
