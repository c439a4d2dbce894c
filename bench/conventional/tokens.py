"""Who is asking: bearer tokens against a table, remembered for a few seconds."""

import hashlib
import time
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bench.conventional.database import Database
from bench.conventional.tables import Token

REMEMBERED_SECONDS = 5

bearer = HTTPBearer(auto_error=False)


class Tokens:
    """Looks tokens up, and keeps what it found for a short while."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: dict[str, tuple[float, str | None]] = {}

    async def organisation_of(self, token: str) -> str | None:
        """The organisation a token speaks for."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        until, organisation = self._remembered.get(digest, (0.0, None))
        if until > time.monotonic():
            return organisation
        async with self._database.reading() as session:
            row = await session.get(Token, digest)
        organisation = row.organisation if row else None
        self._remembered[digest] = (time.monotonic() + REMEMBERED_SECONDS, organisation)
        return organisation


async def authorise(
    organisation: str,
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> str:
    """Let a request pass that bears a token of the organisation in its path."""
    tokens: Tokens = request.app.state.tokens
    allowed = await tokens.organisation_of(credentials.credentials) if credentials else None
    if allowed is None:
        raise HTTPException(401, "Unknown token", headers={"WWW-Authenticate": "Bearer"})
    if allowed != organisation:
        raise HTTPException(403, "The token is not for this organisation")
    return organisation
