"""From a URL to a store: the only place that lists the engines."""

import asyncio
import re
import threading
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sessionary.errors import InvalidRequestError, StoreUnavailableError
from sessionary.server.store.base import Clock, Store

SECONDS_MAX_DEFAULT: Final = 5.0
"""How long a request may take in the store, waiting included, before it is answered with an error."""

_HIDDEN: Final = "***"
_SQLITE: Final = "sqlite:///"
_PLAIN_USER: Final = re.compile(r"[\w.@+~-]*")
_PLAIN_HOSTS: Final = re.compile(r"[\w.,:\[\]/%-]*")
_PLAIN_NAME: Final = re.compile(r"[\w./+~-]*")
_OPEN_PARAMETERS: Final = frozenset(
    {
        *(
            "host",
            "port",
            "user",
            "dbname",
            "database",
            "service",
            "sslmode",
            "sslrootcert",
            "sslcert",
            "sslkey",
            "sslcrl",
        ),
        *("sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version", "channel_binding", "passfile"),
        *("target_session_attrs", "connect_timeout", "application_name", "fallback_application_name", "gssencmode"),
        *("schema", "currentSchema", "search_path", "client_encoding", "pgbouncer"),
    }
)
"""Parameters whose value may be shown; those of any other name may be a secret, or the rest of one."""


async def open_store(
    url: str, clock: Clock, seconds_max: float = SECONDS_MAX_DEFAULT, *, shared: bool = False
) -> Store:
    """Open the store at ``sqlite:///path`` or ``postgresql://…``, which must have been migrated.

    A SQLite file belongs to one store at a time; ``shared`` opens it beside that one, as administrators' commands do.
    Raises InvalidRequestError for another URL and StoreUnavailableError if the database cannot be reached.
    """
    check_url(url)
    if _is_postgres(url):
        # Each engine's driver is imported only where it is used: the other need not be paid for at the start.
        from sessionary.server.store.postgres.store import PostgresStore  # noqa: PLC0415

        return await PostgresStore.open(url, clock, seconds_max)
    from sessionary.server.store.sqlite.store import SqliteStore  # noqa: PLC0415

    return await SqliteStore.open(sqlite_path(url), clock, seconds_max, shared=shared)


async def check_free(url: str) -> None:
    """Raise StoreUnavailableError if another server uses the file at ``sqlite:///path``, before it is touched."""
    if _is_postgres(url):
        return
    from sessionary.server.store.sqlite import file_lock  # noqa: PLC0415

    await asyncio.to_thread(file_lock.check_free, sqlite_path(url))


def back_up(url: str, target: Path) -> dict[str, int]:
    """Copy the database at ``sqlite:///path`` into a new file, verified; answers the number of rows of each table.

    Raises InvalidRequestError for another URL and for a file that exists, StoreUnavailableError if it cannot be done.
    """
    path = _file_to_copy(url, "sessionary backup", "pg_dump")
    from sessionary.server.store.sqlite import backup  # noqa: PLC0415

    return backup.back_up(path, target)


def restore(url: str, copy: Path, *, replace: bool) -> tuple[dict[str, int], Path | None]:
    """Put a copy into the place of the database at ``sqlite:///path``; answers rows, and where the one before is.

    Raises InvalidRequestError and StoreUnavailableError as ``back_up`` does, also where a server has the database.
    """
    path = _file_to_copy(url, "sessionary restore", "pg_restore")
    from sessionary.server.store.sqlite import backup  # noqa: PLC0415

    return backup.restore(copy, path, replace=replace)


def _file_to_copy(url: str, command: str, instead: str) -> Path:
    if _is_postgres(url):
        raise InvalidRequestError(
            f"{command} is for SQLite; for PostgreSQL use {instead}: see docs/operating.md, Backups."
        )
    return sqlite_path(url)


async def migrate(url: str, now: int) -> list[str]:
    """Apply the migrations that are pending, once and in order, and name them."""
    check_url(url)
    if _is_postgres(url):
        from sessionary.server.store.postgres import migrations as postgres  # noqa: PLC0415

        return await postgres.migrate(url, now)
    from sessionary.server.store.sqlite import migrations as sqlite  # noqa: PLC0415

    # A thread cannot be cancelled, only told.
    given_up = threading.Event()
    try:
        return await asyncio.to_thread(sqlite.migrate, sqlite_path(url), now, given_up.is_set)
    finally:
        given_up.set()


async def pending_migrations(url: str) -> list[str]:
    """Name the migrations that ``migrate`` would apply, changing nothing."""
    check_url(url)
    if _is_postgres(url):
        from sessionary.server.store.postgres import migrations as postgres  # noqa: PLC0415

        return await postgres.pending(url)
    from sessionary.server.store.sqlite import migrations as sqlite  # noqa: PLC0415

    return await asyncio.to_thread(sqlite.pending, sqlite_path(url))


def sqlite_path(url: str) -> Path:
    """Return the path in ``sqlite:///relative`` or ``sqlite:////absolute``; raises InvalidRequestError for others."""
    scheme, separator, given = url.partition(":///")
    if scheme != "sqlite" or not separator:
        # What is no URL of ours may be a password, or hold one in any place: it is not repeated.
        raise InvalidRequestError(
            "The database must be sqlite:///path or postgresql://user@host/name, which this is not."
        )
    if "?" in given or "#" in given:
        raise InvalidRequestError(
            f"The database {without_password(url)!r} has parameters, and SQLite's takes none;"
            " in a path write %3F for ? and %23 for #."
        )
    path = unquote(given)
    if path in {":memory:", "file::memory:"} or path.startswith("file:"):
        raise InvalidRequestError(
            f"The database {url!r} is none that lasts: name a file, as in sqlite:///sessionary.db."
        )
    if not path.strip("/ ") or path.endswith("/") or Path(path).name in {"", ".", ".."}:
        raise InvalidRequestError(f"The database {url!r} names no file: write a path, as in sqlite:///sessionary.db.")
    if not path.isprintable() or path != path.strip():
        raise InvalidRequestError(
            f"The database {url!r} has a space at an end of its path, or a character that does not print."
        )
    return Path(path)


def without_password(url: str) -> str:
    """Show a URL without its secrets; of what cannot be read as a URL of ours nothing but its scheme."""
    if _is_postgres(url):
        return _postgres_without_password(url)
    if not url.startswith(_SQLITE):
        return _HIDDEN
    path, mark = url, ""
    for each in "?#":
        path, found, _ = path.partition(each)
        mark = found or mark
    return path + (f"{mark}{_HIDDEN}" if mark else "")


def _postgres_without_password(url: str) -> str:
    from sessionary.server.store.postgres.urls import read_url  # noqa: PLC0415 - as above

    scheme = url.partition(":")[0]
    try:
        read_url(url)
        parts = urlsplit(url)
    except (StoreUnavailableError, ValueError):
        return f"{scheme}://{_HIDDEN}"
    login, at, hosts = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{_if_plain(user, _PLAIN_USER)}{f':{_HIDDEN}' if colon else ''}{at}{_if_plain(hosts, _PLAIN_HOSTS)}"
    given = (each.partition("=") for each in parts.query.split("&") if each)
    query = "&".join(f"{name}={value if _may_be_shown(name, value) else _HIDDEN}" for name, _, value in given)
    return f"{scheme}://{shown}{_if_plain(parts.path, _PLAIN_NAME)}{'?' if query else ''}{query}"


def _may_be_shown(name: str, value: str) -> bool:
    # A = is how a secret gets into another parameter: dbname=x password=y.
    return name in _OPEN_PARAMETERS and "=" not in unquote(value)


def _if_plain(part: str, pattern: re.Pattern[str]) -> str:
    return part if pattern.fullmatch(unquote(part)) else _HIDDEN


def check_url(url: str) -> None:
    """Raise InvalidRequestError for a URL that names no database of ours, as opening it would; nothing is touched."""
    if _is_postgres(url):
        from sessionary.server.store.postgres.urls import read_url  # noqa: PLC0415 - as above

        try:
            read_url(url)
        except StoreUnavailableError as error:
            raise InvalidRequestError(error.detail) from error
    else:
        sqlite_path(url)


def shown_place(url: str) -> str:
    """Say where the data lies, so that it is found from anywhere."""
    return without_password(url) if _is_postgres(url) else str(sqlite_path(url).absolute())


def _is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))
