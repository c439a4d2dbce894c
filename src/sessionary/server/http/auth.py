"""From the ``Authorization`` header to the token behind it."""

import asyncio
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from sessionary.errors import AuthenticationError, MissingScopeError, PermissionDeniedError
from sessionary.server.operations.token_uses import TokenUses
from sessionary.server.operations.tokens import find_token, is_active
from sessionary.server.store.base import Clock, Store, StoredToken

REMEMBERED_SECONDS: Final = 5.0
"""How long a token may be taken for good, or for unknown, without asking the store: so long a revoked one lives on."""
_REMEMBERED_MAX: Final = 10_000
_HEADER_BYTES_MAX: Final = 256
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]+) *")


class Authenticator:
    """Finds tokens, remembering a bounded number of them for a few seconds."""

    def __init__(
        self, store: Store, clock: Clock, uses: TokenUses, timer: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask this store and note which tokens are used.

        Tokens expire by the clock, and are remembered by the timer, in seconds: the clock is slowed while the machine's
        is put back, and by it a revoked token would live on for longer.
        """
        self._store: Final = store
        self._clock: Final = clock
        self._uses: Final = uses
        self._timer: Final = timer
        self._remembered: Final = OrderedDict[bytes, tuple[float, StoredToken | None]]()
        self._looking: Final = dict[bytes, asyncio.Task[StoredToken | None]]()

    async def authenticate(self, authorization: bytes | None) -> StoredToken:
        """Find the good token a header carries; raises AuthenticationError."""
        if authorization is None or len(authorization) > _HEADER_BYTES_MAX:
            raise AuthenticationError
        now = self._timer()
        found_at, token = self._remembered.get(authorization, (-math.inf, None))
        if now - found_at >= REMEMBERED_SECONDS:
            token = await self._find(authorization, now)
        if token is None or not is_active(token, self._clock()):
            raise AuthenticationError
        return token

    async def _find(self, authorization: bytes, now: float) -> StoredToken | None:
        bearer = _BEARER.fullmatch(authorization)
        if bearer is None:
            return None
        # Everyone asks at once when a few seconds are over: one look is enough for all, whoever of them hangs up.
        looking = self._looking.get(authorization)
        if looking is None:
            looking = asyncio.create_task(self._look_up(authorization, bearer[1].decode("ascii"), now))
            self._looking[authorization] = looking
            looking.add_done_callback(lambda _: self._looking.pop(authorization))
        return await asyncio.shield(looking)

    async def _look_up(self, authorization: bytes, text: str, now: float) -> StoredToken | None:
        token = await find_token(self._store, text)
        if token is not None and is_active(token, self._clock()):
            self._uses.record(token.id, self._clock())
        self._remembered[authorization] = (now, token)
        self._remembered.move_to_end(authorization)
        if len(self._remembered) > _REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return token


def authorize(token: StoredToken, organisation: str, scope: str) -> None:
    """Check that a token speaks for an organisation and may do this; raises PermissionDeniedError."""
    if token.organisation is not None and token.organisation != organisation:
        raise PermissionDeniedError
    if scope not in token.scopes:
        raise MissingScopeError(f"The token lacks the scope {scope}.")
