"""Copies of a database file: made and verified while a server uses it, and put into its place while none does."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from sessionary.errors import InvalidRequest, SessionaryError, StoreUnavailable
from sessionary.store import migrate as numbered
from sessionary.store.sqlite.connections import close, connect
from sessionary.store.sqlite.disks import DISK_FULL
from sessionary.store.sqlite.holding import Hold
from sessionary.store.sqlite.migrations import applied
from sessionary.store.sqlite.places import index_of, log_of, real_path

Counts = dict[str, int]
"""The rows of each table."""

_PAGES_A_STEP: Final = 1_000
_BUSY_SECONDS: Final = 5.0
_ASIDE_MAX: Final = 1_000


def back_up(database: Path, target: Path) -> Counts:
    """Copy a database into a new file, as of one instant; the file has its name once it is whole and verified."""
    with _in_words(database):
        if not real_path(database).exists():
            raise StoreUnavailable(f"There is no database at {database}.")
        _check_absent(target)
        with _part_of(target) as part:
            counts = _copy(connect(database, busy_seconds=_BUSY_SECONDS), part)
            _give_name(part, target)
        return counts


def restore(copy: Path, database: Path, *, replace: bool) -> tuple[Counts, Path | None]:
    """Put a copy into the place of a database that no server has; answers where the one before is now, if any.

    It is there whole or not at all: the copy is copied beside it, verified, and renamed.
    """
    with _in_words(database):
        real = real_path(database)
        if real.exists() and not replace:
            raise InvalidRequest(
                f"There is a database at {database}: say --replace to keep it aside and take its place."
            )
        source = _source(copy, real)
        try:
            # Held to the end: no server starts on a file that is being exchanged.
            with Hold(real), _part_of(real) as part:
                counts = _copy(source, part)
                if not real.exists():
                    _give_name(part, real)
                    return counts, None
                _settle(real)
                return counts, _exchange(part, real)
        finally:
            close(source)


@contextlib.contextmanager
def _in_words(database: Path) -> Iterator[None]:
    try:
        yield
    except apsw.FullError as error:
        raise StoreUnavailable(DISK_FULL) from error
    except apsw.Error as error:
        raise StoreUnavailable(f"The database file {database} cannot be copied: {error}.") from error
    except OSError as error:
        raise StoreUnavailable(f"{error.filename or database}: {error.strerror}.") from error


@contextlib.contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """Make an empty file beside the target, for its owner only; nothing of it stays under that name."""
    file, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.absolute().parent)
    part = Path(name)
    try:
        os.fchmod(file, 0o600)
        os.close(file)
        yield part
    finally:
        for place in (part, log_of(part), index_of(part), part.with_name(f"{part.name}-journal")):
            place.unlink(missing_ok=True)


def _copy(source: apsw.Connection, part: Path) -> Counts:
    """Copy everything as of one instant, bring it to the disk, and verify it; closes the source."""
    try:
        source.execute("BEGIN")
        counts = _counts(source)
        _check_ours(counts)
        target = apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            with target.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(_PAGES_A_STEP)
            # So that the copy stands alone, and needs no log beside it to be read.
            target.pragma("journal_mode", "delete")
        finally:
            close(target)
    finally:
        close(source)
    _sync(part)
    with contextlib.closing(_opened_alone(part)) as copied:
        problems = copied.execute("PRAGMA integrity_check(1)").get
        if problems != "ok" or _counts(copied) != counts:
            raise StoreUnavailable("The copy is not what was copied: the database or the disk is damaged.")
    return counts


def _source(copy: Path, real: Path) -> apsw.Connection:
    """Open a copy that is to be restored; raises InvalidRequest if it is none that this program can serve."""
    found = real_path(copy)
    if not found.exists():
        raise InvalidRequest(f"There is no file {copy}.")
    if found == real:
        raise InvalidRequest(f"{copy} is the database itself.")
    alone = not (log_of(found).exists() and log_of(found).stat().st_size)
    source = _opened_alone(found) if alone else apsw.Connection(str(found), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        if source.execute("PRAGMA integrity_check(1)").get != "ok":
            raise InvalidRequest(f"{copy} is damaged.")
        _check_ours(_counts(source))
        numbered.pending(numbered.read_migrations("sqlite"), applied(source))
    except (apsw.NotADBError, apsw.CorruptError) as error:
        close(source)
        raise InvalidRequest(f"{copy} is no database, or damaged.") from error
    except (SessionaryError, apsw.Error):
        close(source)
        raise
    return source


def _opened_alone(file: Path) -> apsw.Connection:
    """Open a file that nobody writes to: without locks and without a log."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"{file.absolute().as_uri()}?immutable=1", flags=flags)


def _counts(connection: apsw.Connection) -> Counts:
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    quoted = {str(name): str(name).replace('"', '""') for (name,) in tables}
    return {name: connection.execute(f'SELECT count(*) FROM "{table}"').get for name, table in quoted.items()}  # noqa: S608 - names of tables


def _check_ours(counts: Counts) -> None:
    if not {"schema_migrations", "sessions", "turns"} <= counts.keys():
        raise InvalidRequest("That is a database, but none of sessionary's.")


def _settle(real: Path) -> None:
    """Bring the log of the database that is replaced into it; raises StoreUnavailable if a program has it open."""
    connection = apsw.Connection(str(real), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.pragma("locking_mode", "exclusive")
        connection.execute("BEGIN EXCLUSIVE; COMMIT")
        connection.pragma("journal_mode", "delete")
    except apsw.BusyError as error:
        raise StoreUnavailable(f"Another program has {real} open: close it first.") from error
    except (apsw.NotADBError, apsw.CorruptError):
        # It is to be replaced for a reason. Its log goes with it.
        return
    finally:
        close(connection)


def _exchange(part: Path, real: Path) -> Path:
    aside = _free_name(real)
    if os.geteuid() == 0:
        # Root restores for the server's own user.
        owner = real.stat()
        os.chown(part, owner.st_uid, owner.st_gid)
    for ending in ("-wal", "-journal"):
        beside = real.with_name(f"{real.name}{ending}")
        if beside.exists():
            beside.rename(aside.with_name(f"{aside.name}{ending}"))
    index_of(real).unlink(missing_ok=True)
    # At every instant there is a whole database under the name.
    try:
        aside.hardlink_to(real)
    except PermissionError:
        # A file system without hard links.
        real.rename(aside)
    part.replace(real)
    _sync(real.parent)
    return aside


def _free_name(real: Path) -> Path:
    for number in range(1, _ASIDE_MAX):
        name = real.with_name(f"{real.name}.replaced-{number}")
        if not name.exists():
            return name
    raise StoreUnavailable(f"Too many files {real}.replaced-… are kept aside: remove some.")


def _check_absent(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise InvalidRequest(f"There is a file {target} already: nothing is overwritten.")


def _give_name(part: Path, target: Path) -> None:
    """Name a file that is whole, unless there is one of that name by now."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        _check_absent(target)
        raise
    except PermissionError:
        # A file system without hard links.
        _check_absent(target)
        part.rename(target)
    part.unlink(missing_ok=True)
    _sync(target.absolute().parent)


def _sync(place: Path) -> None:
    # Of a copy that is not in use, or of a folder: closing it drops nobody's locks.
    file = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
