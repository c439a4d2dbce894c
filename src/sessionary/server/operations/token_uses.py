"""When tokens were last used: noted in memory, and kept in the store once in a while, for all of them in one step.

A use is noted when a token is looked up, which is every few seconds at most: the path of a request that comes with a
remembered token does not pass here.
"""

import asyncio
import logging
from typing import Final

from sessionary.errors import UnavailableError
from sessionary.server.store.base import Store

SECONDS_BETWEEN: Final = 60.0
_NOTED_MAX: Final = 10_000

_logger: Final = logging.getLogger("sessionary.server.tokens")


class TokenUses:
    """The latest use of each token that the store does not know of yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._used_at: dict[str, int] = {}

    def note(self, token_id: str, at: int) -> None:
        """Note a use, in milliseconds since 1970; of too many tokens the rest is noted the next time."""
        if token_id in self._used_at or len(self._used_at) < _NOTED_MAX:
            self._used_at[token_id] = at

    async def keep(self, store: Store) -> None:
        """Have the store keep what was noted; raises UnavailableError, and then nothing is forgotten."""
        used_at = self._used_at
        if not used_at:
            return
        self._used_at = {}
        try:
            await store.note_token_uses(used_at)
        except BaseException:
            self._used_at = {**used_at, **self._used_at}
            raise


async def keep_forever(uses: TokenUses, store: Store, seconds_between: float = SECONDS_BETWEEN) -> None:
    """Keep what was noted every so many seconds, until cancelled, and then once more."""
    try:
        while True:
            await asyncio.sleep(seconds_between)
            await _try(uses, store)
    finally:
        await _try(uses, store)


async def _try(uses: TokenUses, store: Store) -> None:
    try:
        await uses.keep(store)
    except UnavailableError as error:
        _logger.warning("When tokens were last used could not be kept yet: %s", error.reason or error)
    except Exception:
        # Nothing else would start this again.
        _logger.exception("When tokens were last used could not be kept, for a reason of ours.")
