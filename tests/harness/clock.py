"""A wall clock that a test moves while the program runs (libfaketime, Debian's package)."""

from collections.abc import Mapping
from pathlib import Path

_PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime")


def find_faketime() -> Path | None:
    """Return libfaketime's library for programs with threads, or None where it is not installed."""
    candidates = (found for place in _PLACES for found in Path("/").glob(f"{place[1:]}/libfaketimeMT.so.1"))
    return next(candidates, None)


class MovableClock:
    """The wall clock of the programs started with its `environment`; theirs alone, and only the wall clock.

    Timers and time-outs go by the monotonic clock, which is left alone: a program does not notice the jump.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.offset_seconds = 0.0
        self.move(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program's environment must hold for its clock to be this one."""
        library = find_faketime()
        if library is None:
            raise AssertionError("libfaketime is not installed: ask for the fixture needs_faketime")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Its cure for another libc's ills has threads that wait for Python's lock spin instead, for seconds.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }

    def move(self, seconds: float) -> None:
        """Put the clock forward, or back if negative, from where it stands; it goes on from there."""
        self.offset_seconds += seconds
        # In one step: a program that reads half a number is in another century.
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{self.offset_seconds:+.3f}\n")
        fresh.replace(self._file)
