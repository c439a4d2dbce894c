"""Moving the system clock of a running program (with libfaketime, a Debian package)."""

from collections.abc import Mapping
from pathlib import Path

_DIRECTORIES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime")


def find_faketime() -> Path | None:
    """Return libfaketime's library for programs with threads, or None if it is not installed."""
    candidates = (found for pattern in _DIRECTORIES for found in Path("/").glob(f"{pattern[1:]}/libfaketimeMT.so.1"))
    return next(candidates, None)


class MovableClock:
    """The system clock of the programs that are started with its `environment`.

    The monotonic clock, which timers and timeouts use, is not changed.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.offset_seconds = 0.0
        self.move(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that give a program this clock."""
        library = find_faketime()
        if library is None:
            raise AssertionError("libfaketime is not installed: ask for the fixture needs_faketime")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # This workaround for other C libraries makes threads that wait for Python's lock spin for seconds.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }

    def move(self, seconds: float) -> None:
        """Move the clock forward, or back if negative; it continues from there."""
        self.offset_seconds += seconds
        # Replaced atomically, so that a program never reads half a number.
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{self.offset_seconds:+.3f}\n")
        fresh.replace(self._file)
