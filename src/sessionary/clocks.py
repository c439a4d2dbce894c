"""The clock and the names that the programs give to everything below them."""

import itertools
import secrets
import time
from collections.abc import Callable


def steady_clock(now: Callable[[], float] = time.time) -> Callable[[], int]:
    """Make a clock in milliseconds since 1970 that never runs backwards, whatever the machine's clock does."""
    latest = 0

    def clock() -> int:
        nonlocal latest
        latest = max(latest, int(now() * 1000))
        return latest

    return clock


def request_ids() -> Callable[[], str]:
    """Make a source of request ids that are unique across processes and cheap."""
    prefix = secrets.token_hex(6)
    numbers = itertools.count()
    return lambda: f"{prefix}{next(numbers):08x}"
