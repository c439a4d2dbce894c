"""Housekeeping: expired sessions are invisible at once, and removed soon after."""

import asyncio
import logging
from typing import Final

from sessionary.errors import UnavailableError
from sessionary.server.store.base import Store

BATCH_MAX: Final = 500

_logger: Final = logging.getLogger("sessionary.server.expiry")


async def sweep(store: Store) -> int:
    """Remove all that is due, in bounded batches; answers how many sessions are gone."""
    removed = 0
    while True:
        swept = await store.sweep(BATCH_MAX)
        removed += swept.removed
        if not swept.more:
            return removed


async def sweep_forever(store: Store, seconds_between: float) -> None:
    """Sweep every ``seconds_between``, until cancelled; an outage of the store or an error of ours is waited out."""
    while True:
        await asyncio.sleep(seconds_between)
        try:
            removed = await sweep(store)
        except UnavailableError as error:
            _logger.warning("Sweeping was put off: %s", error.reason or error)
        except Exception:
            # Nothing else would start the sweeper again, and the disk would fill up unnoticed.
            _logger.exception("A sweep failed for a reason of ours; the next one is tried in %g s.", seconds_between)
        else:
            if removed:
                _logger.info("Swept %d expired sessions.", removed)
