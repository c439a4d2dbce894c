"""The files beside an imported file: rejected records with reasons, and values that no session can store."""

import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import msgspec

from sessionary.cli.transfer.conversation import ExcludedValue
from sessionary.cli.transfer.stats import ImportStats

_OWNER_ONLY: Final = 0o600


class RejectsFile:
    """FILE.rejects: one JSON object a line with the location of a record and the reason. Created when needed."""

    def __init__(self, path: Path, stats: ImportStats) -> None:
        """Replace the file of an earlier run and count in ``stats``."""
        self._path: Final = path
        self._stats: Final = stats
        self._file: IO[str] | None = None

    def add(self, location: str, reason: str) -> None:
        """Add one record; ``location`` is such as ``line 17`` or ``conversations.json: element 3``."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", buffering=1)
            self._stats.rejects = str(self._path)
        self._stats.rejected += 1
        self._file.write(msgspec.json.encode(location_fields(location) | {"reason": reason}).decode() + "\n")

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


class LeftoversFile:
    """FILE.leftovers: values that no session can store, one JSON object a line. Later runs append to it."""

    def __init__(self, path: Path | None, stats: ImportStats) -> None:
        """Append to ``path``; without a path nothing is written."""
        self._path: Final = path
        self._stats: Final = stats

    def add(self, location: str, excluded: list[ExcludedValue]) -> None:
        """Add the excluded values of one record; they are on disk before the session is sent."""
        if not excluded or self._path is None:
            return
        self._stats.leftovers = str(self._path)
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _OWNER_ONLY), "ab") as file:
            for value in excluded:
                line = location_fields(location) | value._asdict()
                file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def location_fields(location: str) -> dict[str, Any]:
    """Parse a location such as ``line 17`` or ``conversations.json: element 3`` into JSON members."""
    inside, _, within = location.rpartition(": ")
    unit, _, number = within.partition(" ")
    return ({"inside": inside} if inside else {}) | {unit: int(number)}
