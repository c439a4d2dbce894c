"""Points in time as programs write them, read as the wire writes them."""

import math
import re
from datetime import UTC, datetime
from typing import Any, Final

from sessionary.timestamps import format_timestamp

_EARLIEST: Final = 0
_LATEST: Final = 253_370_764_800_000
"""The first day of the year 9999, in milliseconds."""
_NUMBER: Final = re.compile(r"-?\d{1,20}(\.\d*)?")
# What a number of seconds, milliseconds, microseconds or nanoseconds since 1970 is at least, counted in its own unit.
_UNITS: Final = ((10**17, 10**6), (10**14, 10**3), (10**11, 1))


def time_from(value: Any) -> str | None:
    """Read a time: RFC 3339 or a number since 1970; None for what is no time between 1970 and 9999."""
    milliseconds = _milliseconds(value)
    if milliseconds is None or not _EARLIEST < milliseconds < _LATEST:
        return None
    return format_timestamp(milliseconds)


def _milliseconds(value: Any) -> int | None:
    if isinstance(value, dict):
        # As MongoDB writes one.
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
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        # A program that names no zone most often means this one.
        moment = moment.replace(tzinfo=UTC)
    try:
        # From whole parts: a float of seconds is off by a millisecond now and then.
        whole = moment.astimezone(UTC)
    except OverflowError:
        return None
    return int(whole.replace(microsecond=0).timestamp()) * 1000 + whole.microsecond // 1000


def _from_number(value: float) -> int:
    for least, factor in _UNITS:
        if abs(value) >= least:
            return round(value / factor) if factor > 1 else round(value)
    return round(value * 1000)
