"""The server's clock, its request ids and its Date header."""

import itertools
import secrets
import time
from collections.abc import Callable
from email.utils import formatdate


def steady_clock(
    now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], int]:
    """Return a clock in milliseconds since 1970 that never runs backwards.

    When the system clock is set back, this one runs at half speed until the two agree again.
    """
    latest, latest_at = 0.0, monotonic()

    def clock() -> int:
        nonlocal latest, latest_at
        at = monotonic()
        # If it stood still instead, sessions would not expire and revoked tokens would stay cached until then.
        latest = max(now() * 1000, latest + (at - latest_at) * 500)
        latest_at = at
        return int(latest)

    return clock


def request_ids() -> Callable[[], str]:
    """Return a function that generates request ids, which are unique across processes and cheap."""
    prefix = secrets.token_hex(6)
    numbers = itertools.count()
    return lambda: f"{prefix}{next(numbers):08x}"


def date_headers() -> Callable[[], tuple[bytes, bytes]]:
    """Return a function that returns the current ``Date`` header, which it encodes once a second."""
    encoded_second, header = -1, (b"date", b"")

    def date_header() -> tuple[bytes, bytes]:
        nonlocal encoded_second, header
        second = int(time.time())
        if second != encoded_second:
            encoded_second, header = second, (b"date", formatdate(second, usegmt=True).encode())
        return header

    return date_header
