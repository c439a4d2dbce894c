"""Connections to the server: opened when needed, each statement prepared once, and an honest word on what failed."""

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
from sessionary.server.store.postgres.connecting import connect, takes_writes
from sessionary.server.store.postgres.driver_errors import (
    DRIVER_ERRORS,
    ConnectionLostError,
    InvalidDataError,
    LockTimeoutError,
    RolledBackError,
    UnknownOutcomeError,
    WriteConflictError,
    classify_error,
    is_harmless,
)
from sessionary.server.store.postgres.statements import read_statements

Result = TypeVar("Result")
Rows = list[asyncpg.Record]
Bindings = Mapping[str, object]

_logger: Final = logging.getLogger("sessionary.server.store")

_NOTHING: Final[Bindings] = {}
_GOODBYE_SECONDS: Final = 1.0
_TOLD_SECONDS: Final = 60.0
"""So long the same trouble is not told again."""
_SILENCE_SECONDS_MAX: Final = 0.2
"""Under load a connection is never silent for so long; on one that was, a round trip is no price."""
_SECOND_BEST_SECONDS: Final = 1.0
"""So long a connection to a server that takes no writes is kept before others are tried."""
_LOOK: Final = "SELECT max(m.serves_from) FROM schema_migrations AS m"
_LOCK_TABLES: Final = """
SET LOCAL lock_timeout = {long};
LOCK TABLE sessions, message_blocks, keys, audit, tokens IN ROW EXCLUSIVE MODE;
SET LOCAL lock_timeout = {short}
"""
_PLANS_CALLS_FIRST: Final = 8
_PLANS_SECONDS_MAX: Final = 60.0


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

    def __init__(self, url: str, seconds_max: float, lock_seconds: float | None = None) -> None:
        """Connect to nothing yet. Whoever calls bounds the time; the server is told to give up a little earlier.

        Somebody else's lock on a row is waited for at most ``lock_seconds``.
        """
        self.trouble: str = ""
        """What was wrong with the database when it was last asked for something; empty if nothing was."""
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
        self._told = ("", -math.inf)
        self._heard_at = 0.0
        self._made_at = 0.0
        self._plans: Final = _Plans()

    async def call(self, name: str, bindings: Bindings = _NOTHING, *, commits: bool = False) -> Rows:
        """Run a statement.

        Raises RolledBackError, ConnectionLostError or, if it ``commits`` and may have done so, StoreUnavailableError.
        """
        await self._make_sure()
        if self._plans.are_outdated() and not self._gone:
            await self._execute("DISCARD PLANS")
        prepared = self._prepared.get(name)
        if prepared is None or self._gone:
            prepared = await self._judged(self._prepare(name))
        known = {"program": self._program, **bindings}
        arguments = [known[parameter] for parameter in self._statements[name].parameters]
        try:
            return await self._judged(prepared.fetch(*arguments), commits=commits)
        except WriteConflictError:
            # A statement that only reads fails like that where a newer program has changed the schema.
            if not (commits or self._in_transaction):
                await self.look()
            raise

    @asynccontextmanager
    async def transaction(self, *, commits: bool = True) -> AsyncIterator[None]:
        """Commit what is done inside, or roll back on any error, or always if not ``commits``; raises as ``call``."""
        await self._make_sure()
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

    async def look(self) -> None:
        """Raise StoreUnavailableError if a newer program has changed the schema so that this one must not go on."""
        connection = await self._judged(self.open())
        needed = await self._judged(connection.fetchval(_LOOK))
        refusal = refusal_of_newer(needed, self._program)
        self.trouble = refusal.reason if refusal is not None else ""
        if refusal is not None:
            raise refusal

    async def server_pid(self) -> int:
        """Ask which process of the server answers."""
        connection = await self._judged(self.open())
        return int(await self._judged(connection.fetchval("SELECT pg_backend_pid()")))

    async def open(self) -> asyncpg.Connection:
        """Connect, unless that has been done; raises what the driver raises."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._closed or self._in_transaction:
            # What was begun on the old connection must not be finished on a new one.
            raise ConnectionAbortedError
        self.drop()
        self._connection = await connect(self._url, self._seconds_max, lock_seconds=self._lock_seconds)
        self._made_at = asyncio.get_running_loop().time()
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
            except DRIVER_ERRORS:
                _logger.debug("The database was gone before we took our leave.")
        self.drop()

    @property
    def _gone(self) -> bool:
        return self._connection is None or self._connection.is_closed()

    async def _make_sure(self) -> None:
        """Drop a connection that died in silence, before something is sent on it whose outcome would be unknown."""
        if self._in_transaction:
            return
        now = asyncio.get_running_loop().time()
        silence = now - self._heard_at
        connection = self._connection
        if connection is not None and now - self._made_at > _SECOND_BEST_SECONDS and not takes_writes(connection):
            self.drop()
        connection = await self._judged(self.open())
        if silence < _SILENCE_SECONDS_MAX:
            return
        try:
            async with asyncio.timeout(self._seconds_max / 8):
                await self._judged(connection.execute("SELECT 1"))
        except (RolledBackError, ConnectionLostError, TimeoutError):
            self.drop()

    async def _lock_tables(self) -> None:
        """Keep migrations away until the end of the transaction, and see that none came before it."""
        long, short = (int(seconds * 1000) for seconds in (self._seconds_max * 0.3, self._lock_seconds))
        try:
            await self._execute(_LOCK_TABLES.format(long=long, short=short))
        except LockTimeoutError as error:
            raise RolledBackError(f"somebody holds a lock on a whole table: {error}") from error
        await self.look()

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
        except DRIVER_ERRORS as error:
            raise self._classify(error, commits=commits) from error
        except BaseException:
            self.drop()
            raise
        self._heard_at = asyncio.get_running_loop().time()
        if commits:
            self.trouble = ""
        return result

    def _classify(self, error: Exception, *, commits: bool) -> Exception:
        found = classify_error(error, commits=commits)
        if not is_harmless(error):
            self.drop()
        if isinstance(found, WriteConflictError | LockTimeoutError | InvalidDataError):
            return found
        self.trouble = str(found)
        if isinstance(found, RolledBackError):
            return found
        now = asyncio.get_running_loop().time()
        told, told_at = self._told
        if not self._down and (told != self.trouble or now - told_at > _TOLD_SECONDS):
            self._down, self._told = True, (self.trouble, now)
            _logger.warning("A connection to the database was lost or not made: %s.", found)
        return StoreUnavailableError(reason=str(found)) if isinstance(found, UnknownOutcomeError) else found
