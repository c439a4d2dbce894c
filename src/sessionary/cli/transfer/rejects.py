"""What became of a file's records, and the files that tell what was left out, and why."""

import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import msgspec
from msgspec import Struct, field

from sessionary.cli.transfer.conversation import Findings, Leftover

_OWNER_ONLY: Final = 0o600


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
    anew: int = 0
    """How many of those imported had been imported before, and were gone from the server."""
    mended: int = 0
    """How many of those imported were changed so that they can be kept."""
    mendings: dict[str, int] = field(default_factory=dict)
    """What was changed, and how often."""
    messages: int = 0
    """How many messages the imported sessions have."""
    messages_mended: int = 0
    messages_left_out: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    """Which messages of the file are not in the sessions, and how many."""
    leftovers: str | None = None
    """The file with the parts that no session can hold, if there are any."""
    no_longer_in_file: int = 0
    """How many records earlier runs imported that the file no longer holds as they were."""
    notices: list[str] = field(default_factory=list)

    def is_empty(self) -> bool:
        """Tell whether nothing has become of any record yet."""
        return not (self.imported or self.already_there or self.rejected)

    def count(self, messages: int, findings: Findings) -> None:
        """Count a record that was imported."""
        self.imported += 1
        self.messages += messages
        self.mended += bool(findings.mended)
        self.messages_mended += len(findings.messages_mended)
        self.messages_left_out += findings.left_out.total()
        for counted, found in ((self.mendings, findings.mended), (self.left_out, findings.left_out)):
            for kind, times in found.items():
                counted[kind] = counted.get(kind, 0) + times

    def notice(self, sentence: str | None) -> None:
        """Tell something once."""
        if sentence and sentence not in self.notices:
            self.notices.append(sentence)


class Rejects:
    """One JSON object a line: the number of the line or element, and the reason. Without rejects there is no file."""

    def __init__(self, path: Path, tally: Tally) -> None:
        """Write to ``path``, instead of what an earlier run wrote there, and count."""
        self._path: Final = path
        self._tally: Final = tally
        self._file: IO[str] | None = None

    def add(self, place: str, reason: str) -> None:
        """Add one record; ``place`` is a word and a number, such as ``line 17``, behind the name of a file inside."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", buffering=1)
            self._tally.rejects = str(self._path)
        self._tally.rejected += 1
        self._file.write(msgspec.json.encode(members_of(place) | {"reason": reason}).decode() + "\n")

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


class Leftovers:
    """Parts that no session can hold, one JSON object a line. Later runs add to the file, and never replace it."""

    def __init__(self, path: Path | None, tally: Tally) -> None:
        """Write to ``path``; without one, only count."""
        self._path: Final = path
        self._tally: Final = tally

    def add(self, place: str, leftovers: list[Leftover]) -> None:
        """Add what one record left over; it is on the disk before the session is sent."""
        if not leftovers or self._path is None:
            return
        self._tally.leftovers = str(self._path)
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _OWNER_ONLY), "ab") as file:
            for leftover in leftovers:
                line = members_of(place) | leftover._asdict()
                file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def members_of(place: str) -> dict[str, Any]:
    """Read a place such as ``line 17`` or ``conversations.json: element 3``."""
    inside, _, within = place.rpartition(": ")
    unit, _, number = within.partition(" ")
    return ({"inside": inside} if inside else {}) | {unit: int(number)}
