"""The store on PostgreSQL: queues and connections for each kind of work instead of one connection pool."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import cycle
from typing import Any, Final, Self, TypeVar, cast

from sessionary.constants import SESSION_BYTES_MAX
from sessionary.errors import SessionaryError, StoreUnavailableError
from sessionary.server.store.base import (
    CURSOR_START,
    OPERATOR,
    USAGE_PAGE_MAX,
    AuditRecord,
    Clock,
    Command,
    Conversation,
    ListQuery,
    Outcome,
    Page,
    StoredToken,
    SweepResult,
    UsagePage,
    Window,
    size_of,
)
from sessionary.server.store.batching import Batcher, BatcherLimits, value_or_raise
from sessionary.server.store.postgres.connecting import check_server, startup_errors
from sessionary.server.store.postgres.connections import Connection
from sessionary.server.store.postgres.driver_errors import ConnectionLostError, RolledBackError
from sessionary.server.store.postgres.locked_sessions import LockedSessions
from sessionary.server.store.postgres.readiness import Readiness, check_rights
from sessionary.server.store.postgres.reading import FetchRequest, Reader, TooLong
from sessionary.server.store.postgres.retrying import Work, run_in_parts
from sessionary.server.store.postgres.sweeping import Sweeper
from sessionary.server.store.postgres.tokens import Tokens
from sessionary.server.store.postgres.urls import read_url
from sessionary.server.store.postgres.writing import Blocked, Writer
from sessionary.server.store.postgres.writing import Result as CommandResult

Item = TypeVar("Item")
Result = TypeVar("Result")
Job = Callable[[], Awaitable[Any]]

_WAITING_MAX: Final = 4_096
_WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
_BATCH_BYTES_MAX: Final = 16 * 1024 * 1024
_COMMANDS_BATCH_MAX: Final = 512
_FETCH_BATCHERS: Final = 2
_FETCH_BATCH_MAX: Final = 32
_SHORT_CONVERSATION_BYTES: Final = 256 * 1024
"""Longer conversations are read one at a time; a batch takes at most 32 times as much memory."""
_LIST_BATCHERS: Final = 2
_LIST_BATCH_MAX: Final = 8
"""A page may have a hundred sessions, each with 64 KiB of metadata."""
_LOOKUP_BATCH_MAX: Final = 256
_READY_SECONDS_MAX: Final = 1.0
_LOCK_PART: Final = 50
_LOCK_SECONDS_MIN: Final = 0.02
_SHARED_CONNECTIONS: Final = (
    "The URL of the database leads to a pooler that shares connections between transactions: "
    "use its session mode, or connect to PostgreSQL itself."
)


class PostgresStore:
    """The store contract on a PostgreSQL database."""

    def __init__(self, url: str, clock: Clock, seconds_max: float) -> None:
        """Create the store without connecting; use ``open``."""
        self._url: Final = url
        self._seconds_max: Final = seconds_max
        self._connections: Final[list[Connection]] = []
        self._batchers: Final[list[Batcher[Any, Any]]] = []

        # A lock that lasts longer than a commit is not another server's, but for example an open transaction in psql.
        lock_seconds = max(seconds_max / _LOCK_PART, _LOCK_SECONDS_MIN)
        writer = Writer(self._connection(lock_seconds), clock, seconds_max / 4)
        self._locked_sessions: Final = LockedSessions(writer, seconds_max * 3 / 8)
        self._commands: Final[Batcher[Command, CommandResult]] = self._batcher(
            self._locked_sessions.apply_others, _COMMANDS_BATCH_MAX
        )
        # Not opened at startup, because it is rarely needed.
        self._waiting_connection: Final = Connection(url, seconds_max, lock_seconds)
        waiting_writer = Writer(self._waiting_connection, clock, seconds_max / 8, expects_locks=True)
        self._waiting: Final[Batcher[Command, CommandResult]] = self._batcher(waiting_writer.apply, _COMMANDS_BATCH_MAX)
        self._fetches: Final = [
            self._batcher(Reader(self._connection(), clock, _SHORT_CONVERSATION_BYTES).fetch, _FETCH_BATCH_MAX)
            for _ in range(_FETCH_BATCHERS)
        ]
        self._long_fetches: Final = self._batcher(Reader(self._connection(), clock, SESSION_BYTES_MAX).fetch)
        self._lists: Final = cycle(
            [
                self._batcher(Reader(self._connection(), clock, 0).list_pages, _LIST_BATCH_MAX)
                for _ in range(_LIST_BATCHERS)
            ]
        )
        self._long_lists: Final = self._batcher(Reader(self._connection(), clock, 0).list_pages)
        self._sweeper: Final = Sweeper(self._connection(), clock)
        self._sweeps: Final = self._batcher(_run)
        self._job_connection: Final = self._connection()
        self._tokens: Final = Tokens(self._job_connection, clock)
        self._readiness: Final = Readiness(url, seconds_max, self._connections)
        self._jobs: Final = self._batcher(_run)
        # On a connection of its own, many at once: invented tokens do not delay requests with valid ones.
        self._lookups: Final = self._batcher(Tokens(self._connection(), clock).find, _LOOKUP_BATCH_MAX)

    @classmethod
    async def open(cls, url: str, clock: Clock, seconds_max: float = 5.0) -> Self:
        """Connect to a database that has been migrated; raises StoreUnavailableError with the reason."""
        store = cls(url, clock, seconds_max)
        try:
            await store._open()
        except BaseException:
            await store.close()
            raise
        return store

    async def apply(self, command: Command) -> Outcome:
        """Apply a command; see ``Store``."""
        started = asyncio.get_running_loop().time()
        result = await self._commands.put(command, size_of(command), command.organisation)
        if isinstance(result, Blocked):
            return await self._locked_sessions.wait(command, self._waiting, started)
        return result

    async def fetch(self, organisation: str, session_id: str, window: Window | None = None) -> Conversation:
        """Read a session and its messages; see ``Store``."""
        request = FetchRequest(organisation, session_id, window)
        # A session always has the same queue, so that it is read once for many requests at the same time.
        result = await self._fetches[hash(session_id) % _FETCH_BATCHERS].put(request, 0, organisation)
        if isinstance(result, TooLong):
            result = await self._long_fetches.put(request, 0, organisation)
        return value_or_raise(cast("Conversation | SessionaryError", result))

    async def list_sessions(self, query: ListQuery) -> Page:
        """Read a page of live sessions; see ``Store``."""
        batcher = next(self._lists) if query.is_quick else self._long_lists
        return value_or_raise(await batcher.put(query, 0, query.organisation))

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        """Count the sessions and bytes of a page; see ``Store``."""
        return await _done(self._sweeps, lambda: self._sweeper.measure_usage(organisation, after, limit))

    async def sweep(self, limit: int) -> SweepResult:
        """Delete what has expired; see ``Store``."""
        return await _done(self._sweeps, lambda: self._sweeper.sweep(limit))

    async def create_token(self, token: StoredToken, actor: str = OPERATOR) -> None:
        """Store a token; see ``Store``."""
        await _done(self._jobs, lambda: self._tokens.create(token, actor))

    async def find_token(self, token_id: str) -> StoredToken | None:
        """Read a token; see ``Store``."""
        return value_or_raise(await self._lookups.put(token_id))

    async def list_tokens(self, limit: int, after: str = "") -> list[StoredToken]:
        """Read a page of tokens; see ``Store``."""
        return await _done(self._jobs, lambda: self._tokens.list(limit, after))

    async def revoke_token(self, token_id: str, actor: str = OPERATOR) -> StoredToken:
        """Revoke a token; see ``Store``."""
        return await _done(self._jobs, lambda: self._tokens.revoke(token_id, actor))

    async def note_token_uses(self, used_at: Mapping[str, int]) -> None:
        """Store when tokens were last used; see ``Store``."""
        await _done(self._jobs, lambda: self._tokens.use(used_at))

    async def note(self, record: AuditRecord) -> None:
        """Store an audit record; see ``Store``."""
        await _done(self._jobs, lambda: self._tokens.note(record))

    async def list_audit(self, limit: int, after: int = 0) -> list[AuditRecord]:
        """Read audit records; see ``Store``."""
        return await _done(self._jobs, lambda: self._tokens.list_audit(limit, after))

    async def ready(self) -> None:
        """Return if a write would succeed; see ``Store``."""
        try:
            async with asyncio.timeout(_READY_SECONDS_MAX):
                await _done(self._jobs, lambda: self._readiness.check(self._job_connection))
        except TimeoutError as error:
            raise StoreUnavailableError(reason="no response in time", unchanged=True) from error

    async def close(self) -> None:
        """Finish the accepted requests and close the connections; see ``Store``."""
        await asyncio.gather(*(batcher.drain() for batcher in self._batchers))
        await asyncio.gather(*(connection.close() for connection in self._connections))
        await self._waiting_connection.close()

    async def _open(self) -> None:
        with startup_errors(self._url):
            async with asyncio.timeout(self._seconds_max):
                await self._connect()
                try:
                    await self._tokens.ping()
                    await check_rights(self._job_connection)
                except RolledBackError as refusal:
                    # A table or a column is missing.
                    if not str(refusal).endswith(("(42P01)", "(42703)")):
                        raise _refused(self._url, str(refusal)) from refusal
                    detail = "The database has not been migrated: run `sessionary migrate`."
                    raise StoreUnavailableError(detail) from refusal
                except ConnectionLostError as lost:
                    raise StoreUnavailableError(reason=str(lost), unreachable=True) from lost
                except StoreUnavailableError as error:
                    raise _refused(self._url, error.reason, unreachable=error.unreachable) from error

    async def _connect(self) -> None:
        # All are awaited even if one fails: none may be opened after the store is closed.
        opening = (connection.open() for connection in self._connections)
        for connection in await asyncio.gather(*opening, return_exceptions=True):
            if isinstance(connection, BaseException):
                raise connection
            check_server(connection)
        first, second = self._connections[:2]
        processes = [await connection.server_pid() for connection in (first, second, first)]
        if processes[0] == processes[1] or processes[0] != processes[2]:
            raise StoreUnavailableError(_SHARED_CONNECTIONS)

    def _connection(self, lock_seconds: float | None = None) -> Connection:
        connection = Connection(self._url, self._seconds_max, lock_seconds)
        self._connections.append(connection)
        return connection

    def _batcher(self, work: Work[Item, Result], batch_max: int = 1) -> Batcher[Item, Result]:
        bounds = BatcherLimits(_WAITING_MAX, _WAITING_BYTES_MAX, batch_max, _BATCH_BYTES_MAX, self._seconds_max)
        batcher = Batcher[Item, Result](lambda items: run_in_parts(work, items), bounds)
        self._batchers.append(batcher)
        return batcher


def _refused(url: str, reason: str, *, unreachable: bool = False) -> StoreUnavailableError:
    detail = f"The database at {read_url(url).shown} cannot be used: {reason}."
    return StoreUnavailableError(detail, reason=reason, unreachable=unreachable)


async def _run(jobs: Sequence[Job]) -> list[Any]:
    return [await job() for job in jobs]


async def _done(jobs: Batcher[Job, Any], job: Callable[[], Awaitable[Result]]) -> Result:
    return value_or_raise(cast("Result | SessionaryError", await jobs.put(job)))
