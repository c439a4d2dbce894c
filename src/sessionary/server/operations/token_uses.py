"""When each token was last used: recorded in memory, and written to the store once a minute in one statement.

A use is recorded when a token is looked up in the store, every few seconds at most. Requests whose token is cached are
not slowed down.
"""

import asyncio
import logging
from typing import Final

from sessionary.errors import UnavailableError
from sessionary.server.store.base import Store

SECONDS_BETWEEN: Final = 60.0
_RECORDED_MAX: Final = 10_000

_logger: Final = logging.getLogger("sessionary.server.tokens")


class TokenUses:
    """The latest use of each token that has not been written to the store yet."""

    def __init__(self) -> None:
        """Start empty."""
        self._used_at: dict[str, int] = {}

    def record(self, token_id: str, at: int) -> None:
        """Record a use, in milliseconds since 1970; of too many tokens the rest is left to their next use."""
        if token_id in self._used_at or len(self._used_at) < _RECORDED_MAX:
            self._used_at[token_id] = at

    async def flush(self, store: Store) -> None:
        """Write what was recorded to the store; if it raises UnavailableError, everything is kept for the next time."""
        used_at = self._used_at
        if not used_at:
            return
        self._used_at = {}
        try:
            await store.note_token_uses(used_at)
        except BaseException:
            self._used_at = {**used_at, **self._used_at}
            raise


async def flush_forever(uses: TokenUses, store: Store, seconds_between: float = SECONDS_BETWEEN) -> None:
    """Flush every ``seconds_between`` seconds until cancelled, and then once more."""
    try:
        while True:
            await asyncio.sleep(seconds_between)
            await _try_flush(uses, store)
    finally:
        await _try_flush(uses, store)


async def _try_flush(uses: TokenUses, store: Store) -> None:
    try:
        await uses.flush(store)
    except UnavailableError as error:
        _logger.warning("The times of the last use of tokens could not be stored yet: %s", error.reason or error)
    except Exception:
        # Nothing else would restart this task.
        _logger.exception("The times of the last use of tokens could not be stored because of an internal error.")
