"""Back up a database file while a server uses it, and restore it while none does; copies are verified."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from sessionary.errors import InvalidRequestError, SessionaryError, StoreUnavailableError
from sessionary.server.store import migrate as numbered
from sessionary.server.store.sqlite.connections import close
from sessionary.server.store.sqlite.disk_space import DISK_FULL
from sessionary.server.store.sqlite.file_lock import FileLock, exclude_servers
from sessionary.server.store.sqlite.migrations import applied
from sessionary.server.store.sqlite.paths import files_beside, index_of, journal_of, log_of, real_path

Counts = dict[str, int]
"""The rows of each table."""

_PAGES_A_STEP: Final = 1_000
_BUSY_MILLISECONDS: Final = 5_000
_ASIDE_MAX: Final = 1_000
_TABLES: Final = {"schema_migrations", "sessions", "keys"}
"""Tables that every version of the schema has: a copy may be older than this program."""


def back_up(database: Path, target: Path) -> Counts:
    """Copy a database into a new file, in one consistent state; it gets its name once it is verified."""
    with _readable_errors(database):
        if not real_path(database).exists():
            raise StoreUnavailableError(f"There is no database at {database}.")
        _check_absent(target)
        if not target.absolute().parent.is_dir():
            raise InvalidRequestError(f"There is no folder {target.parent} to put the copy into.")
        with _opened_to_read(real_path(database)) as source, _temporary_file(target) as part:
            counts = _copy(source, part)
            _give_name(part, target)
        return counts


def restore(copy: Path, database: Path, *, replace: bool) -> tuple[Counts, Path | None]:
    """Replace a database that no server uses by a copy; return also the path of the old database, if there was one.

    The copy is copied beside the database, verified, and renamed.
    """
    with _readable_errors(database):
        real = real_path(database)
        if real.exists() and not replace:
            raise InvalidRequestError(
                f"There is a database at {database}: use --replace to move it aside and replace it."
            )
        left = files_beside(real)
        if left and not replace:
            raise InvalidRequestError(
                f"There is no database at {database}, but {left[0]}, which may hold acknowledged data and would be "
                "mixed with the copy: use --replace to move it aside."
            )
        source = _source(copy, real)
        try:
            # Held to the end, so that no server starts on the file meanwhile.
            with FileLock(real), _temporary_file(real) as part:
                counts = _copy(source, part)
                if real.exists():
                    _copy_log(real)
                    return counts, _exchange(part, real)
                aside = _put_aside(real, _free_name(real)) if replace else None
                _give_name(part, real)
                return counts, aside
        finally:
            close(source)


@contextlib.contextmanager
def _readable_errors(database: Path) -> Iterator[None]:
    try:
        yield
    except apsw.FullError as error:
        raise StoreUnavailableError(DISK_FULL) from error
    except apsw.Error as error:
        raise StoreUnavailableError(f"The database file {database} cannot be copied: {error}.") from error
    except OSError as error:
        raise StoreUnavailableError(f"{error.filename or database}: {error.strerror}.") from error


@contextlib.contextmanager
def _temporary_file(target: Path) -> Iterator[Path]:
    """Create an empty file beside the target, for its owner only, and remove it at the end."""
    # The name is chosen before the file is created, so that it is removed even after a signal.
    part = target.absolute().with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(file, 0o600)
        os.close(file)
        yield part
    finally:
        for path in (part, log_of(part), index_of(part), journal_of(part)):
            path.unlink(missing_ok=True)


def _copy(source: apsw.Connection, part: Path) -> Counts:
    """Copy everything in one consistent state, sync it to the disk, and verify it; closes the source."""
    try:
        source.execute("BEGIN")
        counts = _counts(source)
        _check_tables(counts)
        target = apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            with target.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(_PAGES_A_STEP)
            # So that the copy can be read without a log beside it.
            target.pragma("journal_mode", "delete")
        finally:
            close(target)
    finally:
        close(source)
    _sync(part)
    with contextlib.closing(_opened_alone(part)) as copied:
        problems = copied.execute("PRAGMA integrity_check(1)").get
        if problems != "ok" or _counts(copied) != counts:
            raise StoreUnavailableError("The copy differs from the database: the database or the disk is damaged.")
    return counts


@contextlib.contextmanager
def _opened_to_read(real: Path) -> Iterator[apsw.Connection]:
    """Open a database that others may write to, without changing it; the right to read is enough."""
    with contextlib.ExitStack() as held:
        if os.access(real, os.W_OK) and os.access(real.parent, os.W_OK):
            source = apsw.Connection(str(real), flags=apsw.SQLITE_OPEN_READWRITE)
        elif index_of(real).exists() or _has_bytes(log_of(real)) or journal_of(real).exists():
            # A server may use it; its log may be empty at the moment.
            source = apsw.Connection(str(real), flags=apsw.SQLITE_OPEN_READONLY)
        else:
            # SQLite would have to create a log. Without one nobody writes, and no server may start meanwhile.
            held.enter_context(exclude_servers(real))
            source = _opened_alone(real)
        held.callback(close, source)
        source.set_busy_timeout(_BUSY_MILLISECONDS)
        try:
            yield source
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise StoreUnavailableError(f"{real} is no database, or damaged.") from error


def _source(copy: Path, real: Path) -> apsw.Connection:
    """Open a copy to restore, without changing it; raises InvalidRequestError if there is none.

    Raises StoreUnavailableError if it is damaged, or not a database that this program can use.
    """
    found = real_path(copy, may_have_names=True)
    if not found.exists():
        raise InvalidRequestError(f"There is no file {copy}.")
    if found == real or (real.exists() and found.samefile(real)):
        raise InvalidRequestError(f"{copy} is the database itself.")
    if _has_bytes(journal_of(found)):
        raise StoreUnavailableError(f"{copy} is not whole: {journal_of(found)} holds a part of it. Take another copy.")
    source = _opened_with_log(found) if _has_bytes(log_of(found)) else _opened_alone(found)
    try:
        if source.execute("PRAGMA integrity_check(1)").get != "ok":
            raise StoreUnavailableError(f"{copy} is damaged.")
        _check_tables(_counts(source))
        numbered.pending(numbered.read_migrations("sqlite"), applied(source))
    except (apsw.NotADBError, apsw.CorruptError) as error:
        close(source)
        raise StoreUnavailableError(f"{copy} is no database, or damaged.") from error
    except (SessionaryError, apsw.Error):
        close(source)
        raise
    return source


def _has_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _opened_with_log(file: Path) -> apsw.Connection:
    """Open a file whose log holds a part of its data, for reading; the log is not copied into the file."""
    source = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    source.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return source


def _opened_alone(file: Path) -> apsw.Connection:
    """Open a file that nobody writes to, without locks and without a log."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"{file.absolute().as_uri()}?immutable=1", flags=flags)


def _counts(connection: apsw.Connection) -> Counts:
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    quoted = {str(name): str(name).replace('"', '""') for (name,) in tables}
    return {name: connection.execute(f'SELECT count(*) FROM "{table}"').get for name, table in quoted.items()}  # noqa: S608 - names of tables


def _check_tables(counts: Counts) -> None:
    if not counts.keys() >= _TABLES:
        raise StoreUnavailableError("The file is a database, but not one of sessionary's.")


def _copy_log(real: Path) -> None:
    """Copy the log of the old database into its file; raises StoreUnavailableError if a program has it open."""
    connection = apsw.Connection(str(real), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.pragma("locking_mode", "exclusive")
        connection.execute("BEGIN EXCLUSIVE; COMMIT")
        connection.pragma("journal_mode", "delete")
    except apsw.BusyError as error:
        raise StoreUnavailableError(f"Another program has {real} open: close it first.") from error
    except (apsw.NotADBError, apsw.CorruptError):
        # It is damaged, and replaced for that reason. Its log is moved with it.
        return
    finally:
        close(connection)


def _exchange(part: Path, real: Path) -> Path:
    aside = _free_name(real)
    if os.geteuid() == 0:
        # Root restores for the server's user.
        owner = real.stat()
        os.chown(part, owner.st_uid, owner.st_gid)
    _put_aside(real, aside)
    # At any time there is a complete database at the path.
    try:
        aside.hardlink_to(real)
    except PermissionError:
        # A file system without hard links.
        real.rename(aside)
    part.replace(real)
    _sync(real.parent)
    return aside


def _put_aside(real: Path, aside: Path) -> Path | None:
    """Move the files beside a database aside; return the new path of the first one, if any."""
    moved: list[Path] = []
    for beside in files_beside(real):
        if beside == index_of(real):
            # SQLite makes it again from the log.
            beside.unlink()
            continue
        moved.append(aside.with_name(aside.name + beside.name.removeprefix(real.name)))
        beside.rename(moved[-1])
    return moved[0] if moved else None


def _free_name(real: Path) -> Path:
    for number in range(1, _ASIDE_MAX):
        name = real.with_name(f"{real.name}.replaced-{number}")
        if not name.exists() and not files_beside(name):
            return name
    raise StoreUnavailableError(f"There are too many files {real}.replaced-…: remove some.")


def _check_absent(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise InvalidRequestError(f"There is a file {target} already: nothing is overwritten.")
    # SQLite would apply a log to the new file, or delete it.
    for beside in files_beside(target):
        raise InvalidRequestError(f"There is a file {beside} already, which would ruin {target}: move it away first.")


def _give_name(part: Path, target: Path) -> None:
    """Rename a complete and verified file to the target, unless there is a file by now."""
    _check_absent(target)
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


def _sync(path: Path) -> None:
    # Of a copy that is not in use, or of a folder: closing it drops no locks.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
