"""Whether the file that is open is still the one at its path: what is written to one that is not would be lost."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.sqlite.overwrite_detection import Contents
from sessionary.server.store.sqlite.paths import index_of, log_of, real_path

FILE_GONE: Final = "The database file was removed, moved or replaced."

_logger: Final = logging.getLogger("sessionary.server.store")

Identity = tuple[int, int]


class FileWatch:
    """Compares paths with the files that were there when SQLite opened them; it only looks (``stat``).

    What is put back where it was is as good as before.
    """

    def __init__(self, path: Path, on_lost: Callable[[], object], contents: Contents) -> None:
        """Remember the files, which SQLite must have open; ``on_lost`` is called when one is found to be gone."""
        # As it was given, so that a symbolic link which leads elsewhere is noticed; and from where it was given.
        given, real = path.absolute(), real_path(path)
        self._file: Final = str(given)
        self._log: Final = str(log_of(real))
        self._file_identity: Final = _identity(self._file)
        self._log_identity: Final = _identity(self._log)
        self._others: Final = {
            place: _identity(place) for place in map(str, (real, index_of(real))) if place != self._file
        }
        self._on_lost: Final = on_lost
        self._contents: Final = contents
        self._settled: tuple[int, int] | None = None
        self._is_well = True
        self._was_written_over = False

    def check(self) -> None:
        """Raise StoreUnavailableError unless what a commit needs is in its place; asked before every commit."""
        try:
            file, log = os.stat(self._file), os.stat(self._log)  # noqa: PTH116 - twice as fast
        except OSError as error:
            raise self._lost(f"{error.filename}: {error.strerror}") from error
        if (file.st_ino, file.st_dev) != self._file_identity:
            raise self._lost(f"another file is at {self._file}")
        if (log.st_ino, log.st_dev) != self._log_identity:
            raise self._lost(f"another log is at {self._log}")
        if self._settled is not None and (file.st_mtime_ns, file.st_size) != self._settled:
            self._look_closer()
        if self._was_written_over:
            raise self._lost(f"another program wrote over {self._file}")
        if not self._is_well:
            self._check_others()
            self._is_well = True
            _logger.warning("The database file is in its place again: writing goes on.")

    @property
    def was_written_over(self) -> bool:
        """Whether what is read is not what was stored here."""
        return self._was_written_over

    def settle(self) -> None:
        """Learn that all of the log is in the file, and that no checkpoint of ours runs before ``unsettle``."""
        try:
            found = os.stat(self._file)  # noqa: PTH116 - as above
        except OSError:
            return
        self._contents.remember()
        self._settled = found.st_mtime_ns, found.st_size

    def unsettle(self) -> None:
        """Learn that a checkpoint of ours may run."""
        self._settled = None

    def check_all(self) -> None:
        """Raise StoreUnavailableError unless everything is in its place."""
        self.check()
        self._check_others()

    def _look_closer(self) -> None:
        self._settled = None
        self._was_written_over = self._was_written_over or self._contents.are_foreign()

    def _check_others(self) -> None:
        for place, identity in self._others.items():
            try:
                found = _identity(place)
            except OSError as error:
                raise self._lost(f"{error.filename}: {error.strerror}") from error
            if found != identity:
                raise self._lost(f"another file is at {place}")

    def _lost(self, reason: str) -> StoreUnavailableError:
        if self._is_well:
            self._is_well = False
            _logger.error(
                "The database file was removed, moved or replaced while it was in use (%s): nothing is written any "
                "more. Put back what was there, or stop the server, see to the file and start again.",
                reason,
            )
            self._on_lost()
        return StoreUnavailableError(FILE_GONE, reason=f"not the file that was opened: {reason}")


def _identity(place: str) -> Identity:
    found = os.stat(place)  # noqa: PTH116 - as above
    return found.st_ino, found.st_dev
