"""Instants on the wire: milliseconds since 1970 in UTC, spelled as RFC 3339."""

from functools import lru_cache
from time import gmtime, strftime
from typing import Final

_THOUSANDTHS: Final = tuple(f".{thousandths:03d}Z" for thousandths in range(1000))


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


def instant(milliseconds: int) -> str:
    """Spell an instant: ``2026-11-22T22:09:00.123Z``."""
    return _second(milliseconds // 1000) + _THOUSANDTHS[milliseconds % 1000]
