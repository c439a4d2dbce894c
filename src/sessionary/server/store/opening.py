"""Open a store by its URL; the only module that knows all engines."""

import asyncio
import re
import threading
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sessionary.errors import InvalidRequestError, StoreUnavailableError
from sessionary.server.store.base import Clock, Store

SECONDS_MAX_DEFAULT: Final = 5.0
"""How long a request may take in the store, including the time in a queue, before it fails."""

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
"""Parameters whose value may be shown; the value of any other one may be a secret or a part of one."""


async def open_store(
    url: str, clock: Clock, seconds_max: float = SECONDS_MAX_DEFAULT, *, shared: bool = False
) -> Store:
    """Open the store at ``sqlite:///path`` or ``postgresql://…``, which must have been migrated.

    A SQLite file can be opened by one server at a time; ``shared`` is for administrators' commands beside it. Raises
    InvalidRequestError for another URL, and StoreUnavailableError if the database cannot be reached.
    """
    check_url(url)
    if _is_postgres(url):
        # Each engine's driver is imported only when it is used, which makes the start faster.
        from sessionary.server.store.postgres.store import PostgresStore  # noqa: PLC0415

        return await PostgresStore.open(url, clock, seconds_max)
    from sessionary.server.store.sqlite.store import SqliteStore  # noqa: PLC0415

    return await SqliteStore.open(sqlite_path(url), clock, seconds_max, shared=shared)


async def check_free(url: str) -> None:
    """Raise StoreUnavailableError if another server uses the file at ``sqlite:///path``; nothing is opened."""
    if _is_postgres(url):
        return
    from sessionary.server.store.sqlite import file_lock  # noqa: PLC0415

    await asyncio.to_thread(file_lock.check_free, sqlite_path(url))


def back_up(url: str, target: Path) -> dict[str, int]:
    """Copy the database at ``sqlite:///path`` into a new file and verify it; return the rows of each table.

    Raises InvalidRequestError for another URL and for a file that exists, StoreUnavailableError if it cannot be done.
    """
    path = _file_to_copy(url, "sessionary backup", "pg_dump")
    from sessionary.server.store.sqlite import backup  # noqa: PLC0415

    return backup.back_up(path, target)


def restore(url: str, copy: Path, *, replace: bool) -> tuple[dict[str, int], Path | None]:
    """Replace the database at ``sqlite:///path`` by a copy; return the rows, and the path of the old database.

    Raises InvalidRequestError and StoreUnavailableError as ``back_up`` does, also if a server uses the database.
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
    """Apply the pending migrations in order, and return their names."""
    check_url(url)
    if _is_postgres(url):
        from sessionary.server.store.postgres import migrations as postgres  # noqa: PLC0415

        return await postgres.migrate(url, now)
    from sessionary.server.store.sqlite import migrations as sqlite  # noqa: PLC0415

    # A thread cannot be cancelled; it checks this event.
    cancelled = threading.Event()
    try:
        return await asyncio.to_thread(sqlite.migrate, sqlite_path(url), now, cancelled.is_set)
    finally:
        cancelled.set()


async def pending_migrations(url: str) -> list[str]:
    """Return the names of the migrations that ``migrate`` would apply."""
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
        # An unknown URL may contain a password anywhere, so it is not shown.
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
    """Return a URL without secrets; if it cannot be parsed, only its scheme."""
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
    # With = another parameter can be part of the value: dbname=x password=y.
    return name in _OPEN_PARAMETERS and "=" not in unquote(value)


def _if_plain(part: str, pattern: re.Pattern[str]) -> str:
    return part if pattern.fullmatch(unquote(part)) else _HIDDEN


def check_url(url: str) -> None:
    """Raise InvalidRequestError for a URL that ``open_store`` refuses; nothing is opened."""
    if _is_postgres(url):
        from sessionary.server.store.postgres.urls import read_url  # noqa: PLC0415 - as above

        try:
            read_url(url)
        except StoreUnavailableError as error:
            raise InvalidRequestError(error.detail) from error
    else:
        sqlite_path(url)


def database_location(url: str) -> str:
    """Return where the data is: the absolute path, or the URL without secrets."""
    return without_password(url) if _is_postgres(url) else str(sqlite_path(url).absolute())


def _is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))
