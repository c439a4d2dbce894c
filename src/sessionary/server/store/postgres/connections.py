"""Connections to the server: opened when needed, with statements prepared once, and classified errors."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.migrate import newest_migration, refusal_of_newer
from sessionary.server.store.postgres.connecting import accepts_writes, connect
from sessionary.server.store.postgres.driver_errors import (
    DRIVER_ERRORS,
    ConnectionLostError,
    InvalidDataError,
    LockTimeoutError,
    RolledBackError,
    UnknownOutcomeError,
    WriteConflictError,
    classify_error,
    keeps_connection,
)
from sessionary.server.store.postgres.statements import read_statements

Result = TypeVar("Result")
Rows = list[asyncpg.Record]
Bindings = Mapping[str, object]

_logger: Final = logging.getLogger("sessionary.server.store")

_NO_BINDINGS: Final[Bindings] = {}
_CLOSE_SECONDS: Final = 1.0
_LOG_AGAIN_SECONDS: Final = 60.0
"""The same error is not logged again within this time."""
_SILENCE_SECONDS_MAX: Final = 0.2
"""A connection that was silent for longer is tested before it is used. Under load none is."""
_READ_ONLY_SECONDS: Final = 1.0
"""How long a connection to a read-only server is used before other hosts are tried."""
_SCHEMA_VERSION: Final = "SELECT max(m.serves_from) FROM schema_migrations AS m"
_LOCK_TABLES: Final = """
SET LOCAL lock_timeout = {long};
LOCK TABLE sessions, message_blocks, keys, audit, tokens IN ROW EXCLUSIVE MODE;
SET LOCAL lock_timeout = {short}
"""
_PLANS_CALLS_FIRST: Final = 8
_PLANS_SECONDS_MAX: Final = 60.0


class _Plans:
    """When the server should plan the statements again.

    A plan that was made for a nearly empty table may read all of it, and the server keeps it until the statistics show
    that the table has grown. So plans are discarded after 8 calls, 32, 128 and so on, and each minute, which costs next
    to nothing.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._calls_max = _PLANS_CALLS_FIRST
        self._made_at = -math.inf

    def are_outdated(self) -> bool:
        """Count a call, and return whether plans should be discarded before it."""
        self._calls += 1
        now = asyncio.get_running_loop().time()
        if self._calls < self._calls_max and now - self._made_at < _PLANS_SECONDS_MAX:
            return False
        if self._calls >= self._calls_max:
            self._calls_max *= 4
        self._made_at = now
        return True


class Connection:
    """One connection for one task at a time; if an error may have broken it, the next call opens a new one."""

    def __init__(self, url: str, seconds_max: float, lock_seconds: float | None = None) -> None:
        """Do not connect yet. The caller limits the time of a call; the server's time-outs are a little shorter.

        A lock of another transaction is waited for at most ``lock_seconds``.
        """
        self.trouble: str = ""
        """The last error of the database, empty after a success."""
        self._url: Final = url
        self._seconds_max: Final = seconds_max
        self._lock_seconds: Final = lock_seconds or seconds_max * 8 / 20
        self._program: Final = newest_migration("postgres")
        self._statements: Final = read_statements()
        self._prepared: dict[str, PreparedStatement] = {}
        self._connection: asyncpg.Connection | None = None
        self._closed = False
        self._in_transaction = False
        self._down = False
        self._logged = ("", -math.inf)
        self._last_response_at = 0.0
        self._opened_at = 0.0
        self._plans: Final = _Plans()

    async def call(
        self, name: str, bindings: Bindings = _NO_BINDINGS, *, commits: bool = False, may_conflict: bool = False
    ) -> Rows:
        """Run a statement.

        Raises RolledBackError, ConnectionLostError or, if it ``commits`` and may have done so, StoreUnavailableError.
        If it ``may_conflict``, the caller checks the schema after a WriteConflictError, which may be the reason, too.
        """
        await self._ensure_alive()
        if self._plans.are_outdated() and not self._is_lost:
            await self._execute("DISCARD PLANS")
        prepared = self._prepared.get(name)
        if prepared is None or self._is_lost:
            prepared = await self._classified(self._prepare(name))
        known = {"program": self._program, **bindings}
        arguments = [known[parameter] for parameter in self._statements[name].parameters]
        try:
            return await self._classified(prepared.fetch(*arguments), commits=commits)
        except WriteConflictError:
            if not (may_conflict or self._in_transaction):
                await self.check_schema()
            raise

    @asynccontextmanager
    async def transaction(self, *, commits: bool = True) -> AsyncIterator[None]:
        """Commit what is done inside, or roll back on any error, or always if not ``commits``; raises as ``call``."""
        await self._ensure_alive()
        await self._execute("BEGIN")
        self._in_transaction = True
        try:
            await self._lock_tables()
            yield
            await self._execute("COMMIT" if commits else "ROLLBACK", commits=commits)
        except BaseException:
            await self._undo()
            raise
        finally:
            self._in_transaction = False

    async def check_schema(self) -> None:
        """Raise StoreUnavailableError if a newer program has changed the schema so that this one must stop."""
        connection = await self._classified(self.open())
        needed = await self._classified(connection.fetchval(_SCHEMA_VERSION))
        refusal = refusal_of_newer(needed, self._program)
        self.trouble = refusal.reason if refusal is not None else ""
        if refusal is not None:
            raise refusal

    async def server_pid(self) -> int:
        """Return the id of the server process behind the connection."""
        connection = await self._classified(self.open())
        return int(await self._classified(connection.fetchval("SELECT pg_backend_pid()")))

    async def open(self) -> asyncpg.Connection:
        """Connect, unless that has been done; raises what the driver raises."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._closed or self._in_transaction:
            # A transaction of the old connection cannot be continued on a new one.
            raise ConnectionAbortedError
        self.drop()
        self._connection = await connect(self._url, self._seconds_max, lock_seconds=self._lock_seconds)
        self._opened_at = asyncio.get_running_loop().time()
        if self._down:
            self._down = False
            _logger.info("Connected to the database again.")
        return self._connection

    def drop(self) -> None:
        """Close the connection at once; the server rolls back what it does."""
        connection, self._connection = self._connection, None
        self._prepared = {}
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Close the connection for good."""
        self._closed = True
        if self._connection is not None:
            try:
                await self._connection.close(timeout=_CLOSE_SECONDS)
            except DRIVER_ERRORS:
                _logger.debug("The database was gone before its connection was closed.")
        self.drop()

    @property
    def _is_lost(self) -> bool:
        return self._connection is None or self._connection.is_closed()

    async def _ensure_alive(self) -> None:
        """Connect again if the connection died unnoticed, before a statement is sent whose outcome would be unknown."""
        if self._in_transaction:
            return
        now = asyncio.get_running_loop().time()
        silence = now - self._last_response_at
        connection = self._connection
        if connection is not None and now - self._opened_at > _READ_ONLY_SECONDS and not accepts_writes(connection):
            self.drop()
        connection = await self._classified(self.open())
        if silence < _SILENCE_SECONDS_MAX:
            return
        try:
            async with asyncio.timeout(self._seconds_max / 8):
                await self._classified(connection.execute("SELECT 1"))
        except (RolledBackError, ConnectionLostError, TimeoutError):
            self.drop()

    async def _lock_tables(self) -> None:
        """Keep migrations out until the end of the transaction, and check that none came before."""
        long, short = (int(seconds * 1000) for seconds in (self._seconds_max * 0.3, self._lock_seconds))
        try:
            await self._execute(_LOCK_TABLES.format(long=long, short=short))
        except LockTimeoutError as error:
            raise RolledBackError(f"another transaction holds a lock on a whole table: {error}") from error
        await self.check_schema()

    async def _prepare(self, name: str) -> PreparedStatement:
        connection = await self.open()
        prepared = await connection.prepare(self._statements[name].sql, name=name)
        self._prepared[name] = prepared
        return prepared

    async def _execute(self, command: str, *, commits: bool = False) -> None:
        connection = await self._classified(self.open())
        await self._classified(connection.execute(command), commits=commits)

    async def _undo(self) -> None:
        if not self._is_lost:
            await self._execute("ROLLBACK")

    async def _classified(self, work: Awaitable[Result], *, commits: bool = False) -> Result:
        try:
            result = await work
        except DRIVER_ERRORS as error:
            raise self._classify(error, commits=commits) from error
        except BaseException:
            self.drop()
            raise
        self._last_response_at = asyncio.get_running_loop().time()
        if commits:
            self.trouble = ""
        return result

    def _classify(self, error: Exception, *, commits: bool) -> Exception:
        found = classify_error(error, commits=commits)
        if not keeps_connection(error):
            self.drop()
        if isinstance(found, WriteConflictError | LockTimeoutError | InvalidDataError):
            return found
        self.trouble = str(found)
        if isinstance(found, RolledBackError):
            return found
        now = asyncio.get_running_loop().time()
        logged, logged_at = self._logged
        if not self._down and (logged != self.trouble or now - logged_at > _LOG_AGAIN_SECONDS):
            self._down, self._logged = True, (self.trouble, now)
            _logger.warning("A connection to the database was lost or could not be made: %s.", found)
        return StoreUnavailableError(reason=str(found)) if isinstance(found, UnknownOutcomeError) else found
