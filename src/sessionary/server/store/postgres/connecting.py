"""Making a connection: host after host, each with its share of the time, to one that takes writes if there is any."""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.postgres.driver_errors import DRIVER_ERRORS, may_pass, reason_of
from sessionary.server.store.postgres.urls import Place, Target, read_url, tls_context

_SERVER_VERSION_MIN: Final = 15
_PART: Final = 0.45
"""Of the time of a request, for connecting anew: a little less than its work may take."""
_FINAL: Final = ("28", "3D")
"""A wrong password or database is one at every host."""
_UNTRUSTED: Final = (
    "its certificate is not trusted ({}). It is verified because of sslmode, sslrootcert or channel_binding=require in"
    " the URL; name a file with the authority that signed it in sslrootcert"
)

SETTINGS: Final[Mapping[str, str]] = {
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    # Each statement has one good plan: nested loops over indexes, in their order. It is made once, and no statistics,
    # fresh or stale, talk the planner into another.
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
    """No host could be used; ``passing`` says whether waiting may help."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        """Say why, host by host."""
        super().__init__(reason)
        self.passing: Final = passing


async def connect(
    url: str, seconds_max: float, *, lock_seconds: float | None = None, settings: Mapping[str, str] = SETTINGS
) -> asyncpg.Connection:
    """Connect with the settings every statement counts on; raises what the driver raises, or HostsFailedError.

    Hosts are tried in their order. A standby is passed by; a primary that is read-only serves where no host takes
    writes.
    """
    milliseconds = int(seconds_max * 1000)
    locks = milliseconds * 8 // 20 if lock_seconds is None else int(lock_seconds * 1000)
    wanted = {
        **settings,
        "statement_timeout": str(milliseconds * 9 // 20),
        "lock_timeout": str(locks),
        "idle_in_transaction_session_timeout": str(milliseconds),
    }
    return await connect_to(read_url(url), seconds_max * _PART, wanted)


async def connect_to(target: Target, seconds_max: float, settings: Mapping[str, str]) -> asyncpg.Connection:
    """Connect within the time, of which each host gets its share."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds_max
    failures: list[tuple[Place, Exception]] = []
    second_best: asyncpg.Connection | None = None
    for number, place in enumerate(target.places):
        share = max(ends_at - loop.time(), 0) / (len(target.places) - number)
        try:
            async with asyncio.timeout(min(share, target.seconds_max or share)):
                made = await _connect_one(target, place, settings)
        except ssl.SSLCertVerificationError as error:
            failures.append((place, HostsFailedError(_UNTRUSTED.format(error.verify_message), passing=False)))
            continue
        except DRIVER_ERRORS as error:
            if isinstance(error, asyncpg.PostgresError) and str(error.sqlstate).startswith(_FINAL):
                raise
            failures.append((place, error))
            continue
        if takes_writes(made):
            _let_go(second_best)
            return made
        _let_go(second_best)
        second_best = made
    if second_best is not None:
        return second_best
    raise _summed_up(target, failures)


def takes_writes(connection: asyncpg.Connection) -> bool:
    """Say whether the server took writes when it was connected to or last told otherwise."""
    return bool(getattr(connection.get_settings(), "default_transaction_read_only", "off") != "on")


async def _connect_one(target: Target, place: Place, settings: Mapping[str, str]) -> asyncpg.Connection:
    host, port = place
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
        # Set now and not sent with the first message: poolers refuse settings there that they do not know.
        wanted = {"application_name": "sessionary", **target.settings, **settings}
        _refuse_standby(is_standby=await connection.fetchval(_SET, list(wanted), list(wanted.values())))
    except BaseException:
        connection.terminate()
        raise
    return connection


def _refuse_standby(*, is_standby: bool) -> None:
    if is_standby:
        raise HostsFailedError("it is a standby and takes no writes", passing=True)


def _let_go(connection: asyncpg.Connection | None) -> None:
    if connection is not None:
        connection.terminate()


def _summed_up(target: Target, failures: list[tuple[Place, Exception]]) -> Exception:
    if len(failures) == 1:
        return failures[0][1]
    shown = target.shown.partition("/")[0].split(",") if len(failures) == len(target.places) else []
    reasons = [
        f"{shown[number] if shown else place[0]}: {reason_of(error)}" for number, (place, error) in enumerate(failures)
    ]
    return HostsFailedError("; ".join(reasons), passing=any(is_passing(error) for _, error in failures))


def is_passing(error: Exception) -> bool:
    """Say whether waiting may help with an error of ``connect``."""
    return error.passing if isinstance(error, HostsFailedError) else may_pass(error)


def check_server(connection: asyncpg.Connection) -> None:
    """Raise StoreUnavailableError if the server, or how the database keeps text, is not what we count on."""
    version = connection.get_server_version().major
    if version < _SERVER_VERSION_MIN:
        raise StoreUnavailableError(f"PostgreSQL {version} is too old: {_SERVER_VERSION_MIN} or later is needed.")
    encoding = connection.get_settings().server_encoding
    if encoding != "UTF8":
        raise StoreUnavailableError(f"The database keeps text as {encoding}: one made with ENCODING 'UTF8' is needed.")


@contextmanager
def explaining(url: str) -> Iterator[None]:
    """Turn driver errors at startup into a StoreUnavailableError with the reason, and without the password."""
    shown = read_url(url).shown
    try:
        yield
    except DRIVER_ERRORS as error:
        reason = str(error) or "no answer in time"
        detail = f"The database at {shown} cannot be used: {reason}."
        raise StoreUnavailableError(detail, reason=reason, unreachable=is_passing(error)) from error
    except ValueError as error:
        # The driver quotes what it cannot read, and that may be a part of the password.
        raise StoreUnavailableError("The URL of the database cannot be read.") from error
