"""Timestamps: milliseconds since 1970 in UTC, formatted and parsed as RFC 3339."""

import re
from datetime import datetime
from functools import lru_cache
from time import gmtime, strftime
from typing import Final

_FRACTIONS: Final = tuple(f".{milliseconds:03d}Z" for milliseconds in range(1000))
_LENGTH_MAX: Final = 64
_RFC_3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):([0-5]\d|60)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)


@lru_cache(maxsize=4096)
def _format_seconds(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


def format_timestamp(milliseconds: int) -> str:
    """Format a timestamp: ``2026-11-22T22:09:00.123Z``."""
    return _format_seconds(milliseconds // 1000) + _FRACTIONS[milliseconds % 1000]


def parse_timestamp(text: str) -> int | None:
    """Parse an RFC 3339 timestamp with any offset, rounded down to the millisecond; None if it is not one."""
    match = _RFC_3339.fullmatch(text) if len(text) <= _LENGTH_MAX else None
    if match is None:
        return None
    date, time, seconds, fraction, sign, hours, minutes = match.groups()
    try:
        minute = datetime.fromisoformat(f"{date}T{time}+00:00")
    except ValueError:
        return None
    offset = 0 if sign is None else (int(hours) * 60 + int(minutes)) * (60 if sign == "+" else -60)
    # A leap second counts as the first second of the next minute, as it does in POSIX time.
    total = int(minute.timestamp()) + int(seconds) - offset
    return total * 1000 + int(f"{fraction or ''}000"[:3])
