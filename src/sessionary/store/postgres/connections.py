"""Connections to the server: opened when needed, each statement prepared once, and an honest word on what failed."""

import asyncio
import logging
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeVar

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from sessionary.errors import StoreUnavailable
from sessionary.store.postgres.statements import read_statements

Result = TypeVar("Result")
Rows = list[asyncpg.Record]
Bindings = Mapping[str, object]

_logger: Final = logging.getLogger("sessionary.store")

_NOTHING: Final[Bindings] = {}
_SERVER_VERSION_MIN: Final = 15
_GOODBYE_SECONDS: Final = 1.0
_SILENCE_SECONDS_MAX: Final = 0.2
"""Under load a connection is never silent for so long; on one that was, a round trip is no price."""
_DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_UNFIT_CLASSES: Final = ("22", "23", "54", "P0", "XX")
"""Values, constraints, limits, and rows that cannot be read: one item may be to blame for all."""
_HARMLESS_CLASSES: Final = ("22", "23", "40")
"""Values, constraints and conflicts say nothing against the connection; after other errors a new one may do better."""
_OUTLIVED: Final = ("0A000", "25006", "26000")
"""Tables changed under a prepared statement, a server that became a standby, a statement forgotten: a new one will."""

_SETTINGS: Final = {
    "application_name": "sessionary",
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
_PLANS_CALLS_FIRST: Final = 8
_PLANS_SECONDS_MAX: Final = 60.0


class Refused(Exception):
    """The server reported an error: nothing of the transaction remains."""


class Unfit(Refused):
    """The server refused what it was given: without one of the items it might have taken the others."""


class Lost(Exception):
    """The connection was lost or not made, before anything could have been committed on it."""


class _Plans:
    """When the server's plans are to be made anew.

    A plan that was made while a table held next to nothing may read all of it, which is cheapest then, and the server
    keeps it until statistics tell of the growth. Made anew after 8 calls, 32, 128 and so on, and each minute, a plan is
    never much older than what it was made for, and making it costs next to nothing.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._calls_max = _PLANS_CALLS_FIRST
        self._made_at = -math.inf

    def are_outdated(self) -> bool:
        """Count a call, and say whether plans should be made anew before it."""
        self._calls += 1
        now = asyncio.get_running_loop().time()
        if self._calls < self._calls_max and now - self._made_at < _PLANS_SECONDS_MAX:
            return False
        if self._calls >= self._calls_max:
            self._calls_max *= 4
        self._made_at = now
        return True


class Connection:
    """One connection, for one user at a time; where a failure leaves it in doubt, the next call makes a new one."""

    def __init__(self, url: str, seconds_max: float) -> None:
        """Connect to nothing yet. Whoever calls bounds the time; the server is told to give up a little earlier."""
        self._url: Final = url
        self._seconds_max: Final = seconds_max
        self._statements: Final = read_statements()
        self._prepared: dict[str, PreparedStatement] = {}
        self._connection: asyncpg.Connection | None = None
        self._closed = False
        self._in_transaction = False
        self._down = False
        self._heard_at = 0.0
        self._plans: Final = _Plans()

    async def call(self, name: str, bindings: Bindings = _NOTHING, *, commits: bool = False) -> Rows:
        """Run a statement; raises Refused, Lost, or, where it ``commits``, StoreUnavailable if it may have done so."""
        await self._make_sure()
        if self._plans.are_outdated() and not self._gone:
            await self._execute("DISCARD PLANS")
        prepared = self._prepared.get(name)
        if prepared is None or self._gone:
            prepared = await self._judged(self._prepare(name))
        arguments = [bindings[parameter] for parameter in self._statements[name].parameters]
        return await self._judged(prepared.fetch(*arguments), commits=commits)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Commit what is done inside, or undo it on any error; raises as ``call`` does."""
        await self._make_sure()
        await self._execute("BEGIN")
        self._in_transaction = True
        try:
            yield
            await self._execute("COMMIT", commits=True)
        except BaseException:
            await self._undo()
            raise
        finally:
            self._in_transaction = False

    async def open(self) -> asyncpg.Connection:
        """Connect, unless that has been done; raises what the driver raises."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._closed or self._in_transaction:
            # What was begun on the old connection must not be finished on a new one.
            raise ConnectionAbortedError
        self.drop()
        self._connection = await connect(self._url, self._seconds_max)
        if self._down:
            self._down = False
            _logger.info("Connected to the database again.")
        return self._connection

    def drop(self) -> None:
        """End the connection at once, with whatever it does; the server rolls back."""
        connection, self._connection = self._connection, None
        self._prepared = {}
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Take leave of the server for good."""
        self._closed = True
        if self._connection is not None:
            try:
                await self._connection.close(timeout=_GOODBYE_SECONDS)
            except _DRIVER_ERRORS:
                _logger.debug("The database was gone before we took our leave.")
        self.drop()

    @property
    def _gone(self) -> bool:
        return self._connection is None or self._connection.is_closed()

    async def _make_sure(self) -> None:
        """Drop a connection that died in silence, before something is sent on it whose outcome would be unknown."""
        connection, silence = self._connection, asyncio.get_running_loop().time() - self._heard_at
        if connection is None or connection.is_closed() or self._in_transaction or silence < _SILENCE_SECONDS_MAX:
            return
        try:
            async with asyncio.timeout(self._seconds_max / 8):
                await self._judged(connection.execute("SELECT 1"))
        except (Refused, Lost, TimeoutError):
            self.drop()

    async def _prepare(self, name: str) -> PreparedStatement:
        connection = await self.open()
        prepared = await connection.prepare(self._statements[name].sql, name=name)
        self._prepared[name] = prepared
        return prepared

    async def _execute(self, command: str, *, commits: bool = False) -> None:
        connection = await self._judged(self.open())
        await self._judged(connection.execute(command), commits=commits)

    async def _undo(self) -> None:
        if not self._gone:
            await self._execute("ROLLBACK")

    async def _judged(self, work: Awaitable[Result], *, commits: bool = False) -> Result:
        try:
            result = await work
        except _DRIVER_ERRORS as error:
            raise self._verdict(error, commits=commits) from error
        except BaseException:
            self.drop()
            raise
        self._heard_at = asyncio.get_running_loop().time()
        return result

    def _verdict(self, error: Exception, *, commits: bool) -> Exception:
        sqlstate = _sqlstate_of_refusal(error)
        if not sqlstate.startswith(_HARMLESS_CLASSES):
            self.drop()
        if sqlstate in _OUTLIVED:
            return Lost(f"{type(error).__name__} {sqlstate}")
        if sqlstate:
            refusal = Unfit if sqlstate.startswith(_UNFIT_CLASSES) else Refused
            return refusal(f"{type(error).__name__} {sqlstate}")
        if not self._down:
            self._down = True
            _logger.warning("A connection to the database was lost or not made: %s.", type(error).__name__)
        return StoreUnavailable() if commits else Lost(type(error).__name__)


def _sqlstate_of_refusal(error: Exception) -> str:
    """Name the error after which nothing of the transaction remains; empty if that is not certain.

    A FATAL error, which ends the session, may come after a commit: it says nothing about it.
    """
    if not isinstance(error, asyncpg.PostgresError):
        return ""
    found_by_the_driver = isinstance(error, asyncpg.DataError) and error.severity_en is None
    return str(error.sqlstate) if found_by_the_driver or error.severity_en == "ERROR" else ""


async def connect(url: str, seconds_max: float) -> asyncpg.Connection:
    """Connect with the settings every statement counts on; raises what the driver raises."""
    milliseconds = int(seconds_max * 1000)
    settings = {
        **_SETTINGS,
        "statement_timeout": str(milliseconds * 9 // 20),
        "lock_timeout": str(milliseconds * 8 // 20),
        "idle_in_transaction_session_timeout": str(milliseconds),
    }
    async with asyncio.timeout(seconds_max / 2):
        return await asyncpg.connect(url, server_settings=settings, statement_cache_size=0)


def check_server(connection: asyncpg.Connection) -> None:
    """Raise StoreUnavailable if the server, or how the database keeps text, is not what we count on."""
    version = connection.get_server_version().major
    if version < _SERVER_VERSION_MIN:
        raise StoreUnavailable(f"PostgreSQL {version} is too old: {_SERVER_VERSION_MIN} or later is needed.")
    encoding = connection.get_settings().server_encoding
    if encoding != "UTF8":
        raise StoreUnavailable(f"The database keeps text as {encoding}: one made with ENCODING 'UTF8' is needed.")


@contextmanager
def explaining(url: str) -> Iterator[None]:
    """Turn what goes wrong at a start into a StoreUnavailable that tells an operator why, and no password."""
    place = url.partition("?")[0].rpartition("@" if "@" in url else "//")[2]
    try:
        yield
    except _DRIVER_ERRORS as error:
        reason = str(error) or "no answer in time"
        detail = f"The database at {place} cannot be used: {reason}."
        raise StoreUnavailable(detail, reason=reason, unreachable=may_pass(error)) from error
    except ValueError as error:
        # The driver quotes what it cannot read, and that may be a part of the password.
        raise StoreUnavailable("The URL of the database cannot be read.") from error


def may_pass(error: Exception) -> bool:
    """Say whether waiting may help: nothing answers, or what answers does not serve yet or has no room."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(("08", "53", "57P"))
    if isinstance(error, OSError):
        return not isinstance(error, ssl.SSLError | PermissionError)
    return isinstance(error, asyncpg.TargetServerAttributeNotMatched)
