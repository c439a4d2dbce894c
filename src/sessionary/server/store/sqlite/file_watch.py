"""Check that the open database file is still the one at its path; otherwise what is written would be lost."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.sqlite.overwrite_detection import OverwriteDetector
from sessionary.server.store.sqlite.paths import index_of, log_of, real_path

FILE_GONE: Final = "The database file was removed, moved or replaced."

_logger: Final = logging.getLogger("sessionary.server.store")

Identity = tuple[int, int]


class FileWatch:
    """Compares paths with the files that SQLite opened, by ``stat`` alone.

    If the original files are put back, writing goes on.
    """

    def __init__(self, path: Path, on_lost: Callable[[], object], contents: OverwriteDetector) -> None:
        """Remember the files that SQLite has open; ``on_lost`` is called when one of them is missing or replaced."""
        # The path as given: so a symbolic link that is changed is noticed.
        given, real = path.absolute(), real_path(path)
        self._file: Final = str(given)
        self._log: Final = str(log_of(real))
        self._file_identity: Final = _identity(self._file)
        self._log_identity: Final = _identity(self._log)
        self._others: Final = {
            other: _identity(other) for other in map(str, (real, index_of(real))) if other != self._file
        }
        self._on_lost: Final = on_lost
        self._overwrites: Final = contents
        self._checkpointed: tuple[int, int] | None = None
        self._is_intact = True
        self._is_overwritten = False

    def check(self) -> None:
        """Raise StoreUnavailableError unless file and log are the ones that are open; called before every commit."""
        try:
            file, log = os.stat(self._file), os.stat(self._log)  # noqa: PTH116 - twice as fast
        except OSError as error:
            raise self._lost(f"{error.filename}: {error.strerror}") from error
        if (file.st_ino, file.st_dev) != self._file_identity:
            raise self._lost(f"another file is at {self._file}")
        if (log.st_ino, log.st_dev) != self._log_identity:
            raise self._lost(f"another log is at {self._log}")
        if self._checkpointed is not None and (file.st_mtime_ns, file.st_size) != self._checkpointed:
            self._check_overwritten()
        if self._is_overwritten:
            raise self._lost(f"another program overwrote {self._file}")
        if not self._is_intact:
            self._check_others()
            self._is_intact = True
            _logger.warning("The database file is back: writing goes on.")

    @property
    def is_overwritten(self) -> bool:
        """Whether another program overwrote the file."""
        return self._is_overwritten

    def checkpoint_complete(self) -> None:
        """Record that the file contains all of the log, and stays as it is until ``checkpoint_pending``."""
        try:
            found = os.stat(self._file)  # noqa: PTH116 - as above
        except OSError:
            return
        self._overwrites.take_snapshot()
        self._checkpointed = found.st_mtime_ns, found.st_size

    def checkpoint_pending(self) -> None:
        """Record that a checkpoint may change the file."""
        self._checkpointed = None

    def check_all(self) -> None:
        """Raise StoreUnavailableError unless all files are the ones that are open."""
        self.check()
        self._check_others()

    def _check_overwritten(self) -> None:
        self._checkpointed = None
        self._is_overwritten = self._is_overwritten or self._overwrites.is_overwritten()

    def _check_others(self) -> None:
        for path, identity in self._others.items():
            try:
                found = _identity(path)
            except OSError as error:
                raise self._lost(f"{error.filename}: {error.strerror}") from error
            if found != identity:
                raise self._lost(f"another file is at {path}")

    def _lost(self, reason: str) -> StoreUnavailableError:
        if self._is_intact:
            self._is_intact = False
            _logger.error(
                "The database file was removed, moved or replaced while it was in use (%s): all writes are refused. "
                "Put the file back, or stop the server, repair the file and start again.",
                reason,
            )
            self._on_lost()
        return StoreUnavailableError(FILE_GONE, reason=f"not the file that was opened: {reason}")


def _identity(path: str) -> Identity:
    found = os.stat(path)  # noqa: PTH116 - as above
    return found.st_ino, found.st_dev
