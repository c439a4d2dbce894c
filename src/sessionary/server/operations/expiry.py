"""Deleting expired sessions in the background (housekeeping).

A session is invisible as soon as it expires; the sweeper only reclaims its space.
"""

import asyncio
import logging
from typing import Final

from sessionary.errors import UnavailableError
from sessionary.server.store.base import Store

BATCH_MAX: Final = 500

_logger: Final = logging.getLogger("sessionary.server.expiry")


async def sweep(store: Store) -> int:
    """Delete everything that has expired, in bounded batches; returns the number of deleted sessions."""
    removed = 0
    while True:
        swept = await store.sweep(BATCH_MAX)
        removed += swept.removed
        if not swept.more:
            return removed


async def sweep_forever(store: Store, seconds_between: float) -> None:
    """Sweep every ``seconds_between`` seconds until cancelled; an error is logged and the next sweep tries again."""
    while True:
        await asyncio.sleep(seconds_between)
        try:
            removed = await sweep(store)
        except UnavailableError as error:
            _logger.warning("Sweeping was postponed: %s", error.reason or error)
        except Exception:
            # Nothing else would restart the sweeper, and the disk would fill up unnoticed.
            _logger.exception("A sweep failed because of an internal error; trying again in %g s.", seconds_between)
        else:
            if removed:
                _logger.info("Swept %d expired sessions.", removed)
