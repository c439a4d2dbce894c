"""What became of a file's records, and the file that tells which were left out, and why."""

from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec
from msgspec import Struct, field


class Tally(Struct):
    """What became of a file's records."""

    file: str
    shapes: dict[str, int] = field(default_factory=dict)
    """How many records were read in which shape; not those that were there already."""
    imported: int = 0
    already_there: int = 0
    rejected: int = 0
    rejects: str | None = None
    """The file with the reasons, if there are any."""

    def is_empty(self) -> bool:
        """Tell whether nothing has become of any record yet."""
        return not (self.imported or self.already_there or self.rejected)


class Rejects:
    """One JSON object a line: the number of the line or element, and the reason. Without rejects there is no file."""

    def __init__(self, path: Path, tally: Tally) -> None:
        """Write to ``path``, instead of what an earlier run wrote there, and count."""
        self._path: Final = path
        self._tally: Final = tally
        self._file: IO[str] | None = None

    def add(self, place: str, reason: str) -> None:
        """Add one record; ``place`` is a word and a number, such as ``line 17``."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", buffering=1)
            self._tally.rejects = str(self._path)
        self._tally.rejected += 1
        unit, _, number = place.partition(" ")
        self._file.write(msgspec.json.encode({unit: int(number), "reason": reason}).decode() + "\n")

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
