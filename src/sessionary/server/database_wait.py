"""Waiting at startup for a database that is not up yet."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sessionary.errors import StoreUnavailableError

Opened = TypeVar("Opened")

_PAUSE_SECONDS_FIRST: Final = 0.1
_PAUSE_SECONDS_MAX: Final = 2.0
_SECONDS_BETWEEN_LINES: Final = 10.0

_logger: Final = logging.getLogger("sessionary.server")


async def open_when_up(open_database: Callable[[], Awaitable[Opened]], wait_seconds: float) -> Opened:
    """Try to open the database until it can be reached, for at most ``wait_seconds``; then raises the last error."""
    loop = asyncio.get_running_loop()
    ends_at, logged_at, pause = math.inf, -math.inf, _PAUSE_SECONDS_FIRST
    while True:
        try:
            return await open_database()
        except StoreUnavailableError as error:
            now = loop.time()
            ends_at = min(ends_at, now + wait_seconds)
            if not error.unreachable or now >= ends_at:
                raise
            if now - logged_at >= _SECONDS_BETWEEN_LINES:
                logged_at = now
                _logger.warning(
                    "Waiting for the database, for %.0f more seconds at most: %s", ends_at - now, error.detail
                )
        await asyncio.sleep(min(pause, max(0.0, ends_at - now)))
        pause = min(2 * pause, _PAUSE_SECONDS_MAX)
