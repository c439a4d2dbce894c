"""Connect to the first host that accepts writes; each host gets its share of the time."""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.postgres.driver_errors import DRIVER_ERRORS, is_transient_error, reason_of
from sessionary.server.store.postgres.urls import HostAddress, Target, read_url, tls_context

_SERVER_VERSION_MIN: Final = 15
_PART: Final = 0.45
"""The part of a request's time for connecting: a little less than its work may take."""
_FINAL: Final = ("28", "3D")
"""SQLSTATE classes for a wrong password or database: these are the same on every host."""
_UNTRUSTED: Final = (
    "its certificate is not trusted ({}). It is verified because of sslmode, sslrootcert or channel_binding=require in"
    " the URL; name a file with the authority that signed it in sslrootcert"
)

SETTINGS: Final[Mapping[str, str]] = {
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    # Each statement has one good plan: nested loops over indexes, in their order. These settings keep the planner from
    # choosing another one because of fresh or stale statistics.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
    "enable_memoize": "off",
    "enable_sort": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}

_SET: Final = """
SELECT pg_is_in_recovery(), count(set_config(w.name, w.value, false))
FROM unnest($1::text[], $2::text[]) AS w (name, value)
"""


class HostsFailedError(OSError):
    """No host could be used; ``transient`` says whether waiting may help."""

    def __init__(self, reason: str, *, transient: bool) -> None:
        """Take the reasons of all hosts."""
        super().__init__(reason)
        self.transient: Final = transient


async def connect(
    url: str, seconds_max: float, *, lock_seconds: float | None = None, settings: Mapping[str, str] = SETTINGS
) -> asyncpg.Connection:
    """Connect with the settings that every statement relies on; raises what the driver raises, or HostsFailedError.

    Hosts are tried in order. A standby is skipped; a read-only primary is used if no host accepts writes.
    """
    milliseconds = int(seconds_max * 1000)
    locks = milliseconds * 8 // 20 if lock_seconds is None else int(lock_seconds * 1000)
    values = {
        **settings,
        "statement_timeout": str(milliseconds * 9 // 20),
        "lock_timeout": str(locks),
        "idle_in_transaction_session_timeout": str(milliseconds),
    }
    return await connect_to(read_url(url), seconds_max * _PART, values)


async def connect_to(target: Target, seconds_max: float, settings: Mapping[str, str]) -> asyncpg.Connection:
    """Connect within ``seconds_max``, of which each host gets its share."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds_max
    failures: list[tuple[HostAddress, Exception]] = []
    read_only: asyncpg.Connection | None = None
    for number, address in enumerate(target.hosts):
        share = max(ends_at - loop.time(), 0) / (len(target.hosts) - number)
        try:
            async with asyncio.timeout(min(share, target.seconds_max or share)):
                made = await _connect_one(target, address, settings)
        except ssl.SSLCertVerificationError as error:
            failures.append((address, HostsFailedError(_UNTRUSTED.format(error.verify_message), transient=False)))
            continue
        except DRIVER_ERRORS as error:
            if isinstance(error, asyncpg.PostgresError) and str(error.sqlstate).startswith(_FINAL):
                raise
            failures.append((address, error))
            continue
        if accepts_writes(made):
            _terminate(read_only)
            return made
        _terminate(read_only)
        read_only = made
    if read_only is not None:
        return read_only
    raise _combined_error(target, failures)


def accepts_writes(connection: asyncpg.Connection) -> bool:
    """Return whether the server accepted writes when it last reported it."""
    return bool(getattr(connection.get_settings(), "default_transaction_read_only", "off") != "on")


async def _connect_one(target: Target, address: HostAddress, settings: Mapping[str, str]) -> asyncpg.Connection:
    host, port = address
    connection: asyncpg.Connection = await asyncpg.connect(
        target.driver_url,
        host=host,
        port=port,
        user=target.user,
        password=target.password,
        database=target.database,
        passfile=target.passfile,
        target_session_attrs=SessionAttribute.any,
        statement_cache_size=0,
        server_settings=dict(target.startup) or None,
        ssl=tls_context(target),
    )
    try:
        # Set after connecting, because poolers refuse startup parameters that they do not know.
        values = {"application_name": "sessionary", **target.settings, **settings}
        _check_primary(is_standby=await connection.fetchval(_SET, list(values), list(values.values())))
    except BaseException:
        connection.terminate()
        raise
    return connection


def _check_primary(*, is_standby: bool) -> None:
    if is_standby:
        raise HostsFailedError("it is a standby and accepts no writes", transient=True)


def _terminate(connection: asyncpg.Connection | None) -> None:
    if connection is not None:
        connection.terminate()


def _combined_error(target: Target, failures: list[tuple[HostAddress, Exception]]) -> Exception:
    if len(failures) == 1:
        return failures[0][1]
    shown = target.shown.partition("/")[0].split(",") if len(failures) == len(target.hosts) else []
    reasons = [
        f"{shown[number] if shown else address[0]}: {reason_of(error)}"
        for number, (address, error) in enumerate(failures)
    ]
    return HostsFailedError("; ".join(reasons), transient=any(is_transient(error) for _, error in failures))


def is_transient(error: Exception) -> bool:
    """Return whether waiting may help after an error of ``connect``."""
    return error.transient if isinstance(error, HostsFailedError) else is_transient_error(error)


def check_server(connection: asyncpg.Connection) -> None:
    """Raise StoreUnavailableError if the version of the server or the encoding of the database is not supported."""
    version = connection.get_server_version().major
    if version < _SERVER_VERSION_MIN:
        raise StoreUnavailableError(f"PostgreSQL {version} is too old: {_SERVER_VERSION_MIN} or later is needed.")
    encoding = connection.get_settings().server_encoding
    if encoding != "UTF8":
        raise StoreUnavailableError(f"The database has the encoding {encoding}: create one with ENCODING 'UTF8'.")


@contextmanager
def startup_errors(url: str) -> Iterator[None]:
    """Turn driver errors at startup into a StoreUnavailableError with the reason, and without the password."""
    shown = read_url(url).shown
    try:
        yield
    except DRIVER_ERRORS as error:
        reason = str(error) or "no response in time"
        detail = f"The database at {shown} cannot be used: {reason}."
        raise StoreUnavailableError(detail, reason=reason, unreachable=is_transient(error)) from error
    except ValueError as error:
        # The driver quotes what it cannot parse, and that may be a part of the password.
        raise StoreUnavailableError("The URL of the database cannot be read.") from error
