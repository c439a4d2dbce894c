"""Authentication by the ``Authorization`` header, and authorisation by the token's organisation and scopes."""

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

CACHE_SECONDS: Final = 5.0
"""How long a token, or that there is no such token, is cached: a revoked token stays valid for at most this long."""
_CACHE_ENTRIES_MAX: Final = 10_000
_HEADER_BYTES_MAX: Final = 256
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]+) *")


class Authenticator:
    """Finds the token of a request, with a bounded cache."""

    def __init__(
        self, store: Store, clock: Clock, token_uses: TokenUses, timer: Callable[[], float] = time.monotonic
    ) -> None:
        """Look tokens up in ``store`` and record their use in ``token_uses``.

        ``clock`` decides whether a token has expired. ``timer``, in seconds, decides how long it is cached: the clock
        runs slower while the machine's clock is set back, and a revoked token would stay valid for longer.
        """
        self._store: Final = store
        self._clock: Final = clock
        self._token_uses: Final = token_uses
        self._timer: Final = timer
        self._cache: Final = OrderedDict[bytes, tuple[float, StoredToken | None]]()
        self._lookups: Final = dict[bytes, asyncio.Task[StoredToken | None]]()

    async def authenticate(self, authorization: bytes | None) -> StoredToken:
        """Return the valid token in an ``Authorization`` header; raises AuthenticationError."""
        if authorization is None or len(authorization) > _HEADER_BYTES_MAX:
            raise AuthenticationError
        now = self._timer()
        cached_at, token = self._cache.get(authorization, (-math.inf, None))
        if now - cached_at >= CACHE_SECONDS:
            token = await self._find(authorization, now)
        if token is None or not is_active(token, self._clock()):
            raise AuthenticationError
        return token

    async def _find(self, authorization: bytes, now: float) -> StoredToken | None:
        bearer = _BEARER.fullmatch(authorization)
        if bearer is None:
            return None
        # When a token's cache entry expires, many requests need it at once: they share one lookup, which goes on when
        # one of them is cancelled.
        lookup = self._lookups.get(authorization)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(authorization, bearer[1].decode("ascii"), now))
            self._lookups[authorization] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(authorization))
        return await asyncio.shield(lookup)

    async def _look_up(self, authorization: bytes, text: str, now: float) -> StoredToken | None:
        token = await find_token(self._store, text)
        if token is not None and is_active(token, self._clock()):
            self._token_uses.record(token.id, self._clock())
        self._cache[authorization] = (now, token)
        self._cache.move_to_end(authorization)
        if len(self._cache) > _CACHE_ENTRIES_MAX:
            self._cache.popitem(last=False)
        return token


def authorize(token: StoredToken, organisation: str, scope: str) -> None:
    """Check that a token is valid for an organisation and has a scope; raises PermissionDeniedError."""
    if token.organisation is not None and token.organisation != organisation:
        raise PermissionDeniedError
    if scope not in token.scopes:
        raise MissingScopeError(f"The token lacks the scope {scope}.")
