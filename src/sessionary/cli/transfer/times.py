"""Parses the timestamp formats of other programs into the API's format."""

import math
import re
from datetime import UTC, datetime
from typing import Any, Final

from sessionary.timestamps import format_timestamp

_EARLIEST: Final = 0
_LATEST: Final = 253_370_764_800_000
"""The first day of the year 9999, in milliseconds."""
_NUMBER: Final = re.compile(r"-?\d{1,20}(\.\d*)?")
# The smallest number that counts as nanoseconds, microseconds or milliseconds, and its divisor to milliseconds.
_UNITS: Final = ((10**17, 10**6), (10**14, 10**3), (10**11, 1))


def parse_time(value: Any) -> str | None:
    """Parse RFC 3339 or a number since 1970; None if the value is not a time between 1970 and 9999."""
    milliseconds = _milliseconds(value)
    if milliseconds is None or not _EARLIEST < milliseconds < _LATEST:
        return None
    return format_timestamp(milliseconds)


def _milliseconds(value: Any) -> int | None:
    if isinstance(value, dict):
        # MongoDB's extended JSON.
        value = value.get("$date", value.get("$numberLong"))
        return _milliseconds(value) if not isinstance(value, dict) else _milliseconds(value.get("$numberLong"))
    if isinstance(value, str):
        return _from_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return _from_number(value)


def _from_text(text: str) -> int | None:
    if _NUMBER.fullmatch(text):
        return _from_number(float(text) if "." in text else int(text))
    try:
        timestamp = datetime.fromisoformat(text)
    except ValueError:
        return None
    if timestamp.tzinfo is None:
        # Without a time zone it is usually UTC.
        timestamp = timestamp.replace(tzinfo=UTC)
    try:
        # Computed from integers: a float of seconds can be off by a millisecond.
        in_utc = timestamp.astimezone(UTC)
    except OverflowError:
        return None
    return int(in_utc.replace(microsecond=0).timestamp()) * 1000 + in_utc.microsecond // 1000


def _from_number(value: float) -> int:
    for minimum, factor in _UNITS:
        if abs(value) >= minimum:
            return round(value / factor) if factor > 1 else round(value)
    return round(value * 1000)
