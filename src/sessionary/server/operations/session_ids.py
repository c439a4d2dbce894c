"""Session ids: UUIDv7 (RFC 9562), generated so that sorting by id sorts by creation time."""

import re
from collections.abc import Callable
from typing import Final

from sessionary.server.store.base import Clock

_COUNTER_BITS: Final = 42
_RANDOM_BITS: Final = 32
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class SessionIdGenerator:
    """Generates increasing ids: the millisecond, a counter that starts at random in each one, and 32 random bits."""

    def __init__(self, clock: Clock, random_bits: Callable[[int], int]) -> None:
        """Use a clock, and a source of random bits such as ``secrets.randbits``."""
        self._clock: Final = clock
        self._random_bits: Final = random_bits
        self._milliseconds = 0
        self._counter = 0
        self._past_milliseconds = -1
        self._past_counter = 0

    def generate(self) -> tuple[str, int]:
        """Generate an id for now; returns it with the time inside it, in milliseconds since 1970."""
        now = self._clock()
        if now > self._milliseconds:
            self._milliseconds = now
            # The top bit starts at 0, so that the counter has room to grow within its millisecond.
            self._counter = self._random_bits(_COUNTER_BITS - 1)
        else:
            self._counter += 1
        if self._counter >> _COUNTER_BITS:
            self._milliseconds += 1
            self._counter = 0
        return _format_uuid7(self._milliseconds, self._counter, self._random_bits(_RANDOM_BITS)), self._milliseconds

    def generate_at(self, milliseconds: int) -> str:
        """Generate an id for a time in the past; consecutive ids for the same millisecond increase too."""
        if milliseconds == self._past_milliseconds:
            self._past_counter += 1
        else:
            self._past_milliseconds = milliseconds
            self._past_counter = self._random_bits(_COUNTER_BITS - 1)
        return _format_uuid7(milliseconds, self._past_counter, self._random_bits(_RANDOM_BITS))


def _format_uuid7(milliseconds: int, counter: int, random: int) -> str:
    high = counter >> 30
    low = (counter & 0x3FFF_FFFF) << _RANDOM_BITS | random
    number = milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def normalize_session_id(session_id: str) -> str | None:
    """Return an id in lower case, or None if it is not a hyphenated UUID, so that no session can have it."""
    return session_id.lower() if _UUID.fullmatch(session_id) else None
