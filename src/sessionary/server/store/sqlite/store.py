"""SQLite: one file, one writer, readers that never wait for it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import apsw

from sessionary.errors import SessionaryError, StoreUnavailableError, TokenNotFoundError
from sessionary.server.store.base import (
    CURSOR_START,
    OPERATOR,
    USAGE_PAGE_MAX,
    AuditRecord,
    Clock,
    Command,
    Conversation,
    Delete,
    ListQuery,
    Outcome,
    Page,
    StoredToken,
    SweepResult,
    Update,
    UsagePage,
    Window,
    size_of,
)
from sessionary.server.store.batching import Batcher, BatcherLimits
from sessionary.server.store.sqlite.checkpoints import Checkpointer
from sessionary.server.store.sqlite.connections import close, connect, unusable
from sessionary.server.store.sqlite.file_lock import Hold
from sessionary.server.store.sqlite.file_watch import FILE_GONE, FileWatch
from sessionary.server.store.sqlite.overwrite_detection import Contents
from sessionary.server.store.sqlite.paths import real_path
from sessionary.server.store.sqlite.readiness import WriteProof
from sessionary.server.store.sqlite.reading import Reader
from sessionary.server.store.sqlite.worker_thread import WorkThread, translated
from sessionary.server.store.sqlite.writing import Writer

Result = TypeVar("Result")
Work = Callable[[], Any]

_SHORT_CONVERSATION_BYTES: Final = 128 * 1024
"""A conversation up to this size is read faster than a thread is woken."""
_SHORT_BATCH_BYTES: Final = 1024 * 1024
_WAITING_BYTES: Final = 64 * 1024 * 1024


class SqliteStore:
    """The store contract on one SQLite file."""

    def __init__(self, path: Path, clock: Clock, seconds_max: float) -> None:
        """Open connections to a file that has been migrated."""
        busy_seconds = seconds_max / 4
        with contextlib.ExitStack() as opened:

            def connected(seconds: float) -> apsw.Connection:
                connection = connect(path, busy_seconds=seconds)
                opened.callback(close, connection)
                return connection

            self._writer: Final = Writer(connected(busy_seconds), clock, busy_seconds)
            self._contents: Final = Contents(real_path(path), connected(0))
            self._watch: Final = FileWatch(path, self._on_lost, self._contents)
            self._short_reader: Final = Reader(connected(0), clock)
            self._long_reader: Final = Reader(connected(busy_seconds), clock)
            self._checkpointer: Final = Checkpointer(connected(0), self._start_log_over, self._empty_log, self._watch)
            self._watch.check_all()
            opened.pop_all()
        self._hold: Hold | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writing: Final = WorkThread("sessionary-writer", self._writer.interrupt)
        self._reading: Final = WorkThread("sessionary-reader", self._long_reader.interrupt)
        batches = BatcherLimits(4_096, _WAITING_BYTES, 512, _WAITING_BYTES // 4, seconds_max)
        singles = BatcherLimits(1_024, _WAITING_BYTES, 1, _WAITING_BYTES, seconds_max)
        self._commands: Final = Batcher[Command, Outcome](
            lambda batch: self._track_outcome(self._run_commands(batch)), batches
        )
        self._changes: Final = Batcher[Work, Any](lambda work: self._track_outcome(self._run_change(work)), singles)
        self._reads: Final = Batcher[Work, Any](self._run_read, singles)
        self._proof: Final = WriteProof(real_path(path), self._attempt)
        self._closed = False

    @classmethod
    async def open(cls, path: Path, clock: Clock, seconds_max: float, *, shared: bool = False) -> Self:
        """Open the file; raises StoreUnavailableError if that cannot be done.

        A store has its file for itself, unless it is ``shared``: a command of the administrator's works beside the
        server that has it, for a short time.
        """
        try:
            hold = None if shared else await asyncio.to_thread(lambda: Hold(real_path(path)))
        except OSError as error:
            raise unusable(path, error) from error
        try:
            store = await asyncio.to_thread(cls, path, clock, seconds_max)
        except BaseException as error:
            if hold is not None:
                hold.release()
            if isinstance(error, apsw.Error | OSError):
                raise unusable(path, error) from error
            raise
        store._hold, store._loop = hold, asyncio.get_running_loop()  # noqa: SLF001 - its own
        return store

    async def apply(self, command: Command) -> Outcome:
        """Apply a command; see ``Store``."""
        return await self._commands.put(command, size_of(command), command.organisation)

    async def fetch(self, organisation: str, session_id: str, window: Window | None = None) -> Conversation:
        """Read a session and its messages; see ``Store``."""
        self._check_contents()
        try:
            short = self._short_reader.fetch(organisation, session_id, window, _SHORT_CONVERSATION_BYTES)
        except apsw.BusyError:
            short = None
        except apsw.Error as error:
            raise translated(error) from error
        if short is not None:
            return short
        return await self._read(lambda: self._long_reader.fetch_whole(organisation, session_id, window), organisation)

    async def list_sessions(self, query: ListQuery) -> Page:
        """Read a page of live sessions; see ``Store``."""
        self._check_contents()
        if not query.is_quick:
            return await self._read(lambda: self._long_reader.list_sessions(query), query.organisation)
        try:
            return self._short_reader.list_sessions(query)
        except apsw.BusyError:
            return await self._read(lambda: self._long_reader.list_sessions(query), query.organisation)
        except apsw.Error as error:
            raise translated(error) from error

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        """Count a page of what an organisation has; see ``Store``."""
        return await self._read(lambda: self._long_reader.measure_usage(organisation, after, limit), organisation)

    async def sweep(self, limit: int) -> SweepResult:
        """Remove what has expired; see ``Store``."""
        swept, left_something = await self._change(lambda: self._writer.sweep(limit))
        if left_something:
            self._checkpointer.removed()
        if not swept.more:
            self._checkpointer.forget()
        return swept

    async def create_token(self, token: StoredToken, actor: str = OPERATOR) -> None:
        """Keep a token; see ``Store``."""
        await self._change(lambda: self._writer.create_token(token, actor))

    async def find_token(self, token_id: str) -> StoredToken | None:
        """Read a token; see ``Store``."""
        self._check_contents()
        try:
            return self._short_reader.find_token(token_id)
        except apsw.BusyError:
            return await self._read(lambda: self._long_reader.find_token(token_id))
        except apsw.Error as error:
            raise translated(error) from error

    async def list_tokens(self, limit: int, after: str = "") -> list[StoredToken]:
        """Read a page of tokens; see ``Store``."""
        return await self._read(lambda: self._long_reader.list_tokens(limit, after))

    async def revoke_token(self, token_id: str, actor: str = OPERATOR) -> StoredToken:
        """Revoke a token; see ``Store``."""
        token = await self._change(lambda: self._writer.revoke_token(token_id, actor))
        if token is None:
            raise TokenNotFoundError
        return token

    async def note_token_uses(self, used_at: Mapping[str, int]) -> None:
        """Keep when tokens were last used; see ``Store``."""
        await self._change(lambda: self._writer.note_token_uses(used_at))

    async def note(self, record: AuditRecord) -> None:
        """Keep an audit record; see ``Store``."""
        await self._change(lambda: self._writer.note(record))

    async def list_audit(self, limit: int, after: int = 0) -> list[AuditRecord]:
        """Read audit records; see ``Store``."""
        return await self._read(lambda: self._long_reader.list_audit(limit, after))

    async def ready(self) -> None:
        """Return if the file answers and a write would succeed; see ``Store``."""
        self._watch.check_all()
        await self._read(self._long_reader.ping)
        await self._proof.check()

    async def close(self) -> None:
        """Finish what was accepted and close the file; see ``Store``."""
        if self._closed:
            return
        self._closed = True
        await self._commands.drain()
        await self._changes.drain()
        await self._reads.drain()
        await self._checkpointer.close()
        await self._writing.run(self._writer.close)
        await self._reading.run(self._long_reader.close)
        await self._writing.close()
        await self._reading.close()
        self._short_reader.close()
        self._contents.close()
        if self._hold is not None:
            self._hold.release()

    async def _track_outcome(self, writing: Awaitable[Result]) -> Result:
        """Remember how writing went: reads do not tell, and neither does what found nothing to write."""
        before = self._writer.writes
        try:
            result = await writing
        except (StoreUnavailableError, asyncio.CancelledError):
            self._proof.failed()
            raise
        if self._writer.writes != before:
            self._proof.succeeded()
        return result

    async def _attempt(self, really: bool) -> None:  # noqa: FBT001 - as the writer's
        _returned(await self._changes.put(lambda: self._checked(lambda: self._writer.attempt(really))))

    async def _run_commands(self, commands: Sequence[Command]) -> Sequence[Outcome]:
        outcomes = await self._prepare(commands)
        if outcomes is None:
            self._watch.check()
            outcomes = await self._writing.run(lambda: self._writer.apply(commands))
        else:
            await self._commit()
        if any(map(_removes, commands)):
            self._checkpointer.removed()
        self._checkpointer.written()
        return outcomes

    async def _prepare(self, commands: Sequence[Command]) -> Sequence[Outcome] | None:
        """Run a short batch up to its commit here: two threads of Python would only take blocks, at a price."""
        if any(isinstance(command, Delete) for command in commands) or sum(map(size_of, commands)) > _SHORT_BATCH_BYTES:
            return None
        await self._writing.settle()
        try:
            return self._writer.prepare(commands)
        except apsw.Error as error:
            raise translated(error) from error

    async def _commit(self) -> None:
        try:
            self._watch.check()
        except StoreUnavailableError:
            self._writer.undo()
            raise
        await self._writing.run(self._writer.commit)

    def _check_contents(self) -> None:
        if self._watch.was_written_over:
            raise StoreUnavailableError(
                FILE_GONE, reason="another program wrote over the database file", unchanged=True
            )

    def _checked(self, work: Callable[[], Result]) -> Result:
        self._watch.check()
        return work()

    def _on_lost(self) -> None:
        # What the log holds belongs into the file that it was written for, wherever that is now, and not into one that
        # took its place: SQLite would take a log that it finds beside a file for that file's own. Of a file that was
        # written over, all of the log had been copied before: emptying it changes nothing in what is there now.
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._checkpointer.save)

    async def _run_change(self, work: Sequence[Work]) -> Sequence[Any]:
        return [await self._writing.run(work[0])]

    async def _run_read(self, work: Sequence[Work]) -> Sequence[Any]:
        return [await self._reading.run(work[0])]

    async def _change(self, work: Callable[[], Result]) -> Result:
        result: Result = _returned(await self._changes.put(lambda: self._checked(work)))
        self._checkpointer.written()
        return result

    async def _read(self, work: Callable[[], Result], organisation: str = "") -> Result:
        self._check_contents()
        result: Result = _returned(await self._reads.put(work, 0, organisation))
        return result

    async def _start_log_over(self) -> bool:
        # This leaves nothing new to copy: called a write, it would be followed by another one, for ever.
        return bool(_returned(await self._changes.put(self._writer.start_log_over)))

    async def _empty_log(self) -> bool:
        return bool(_returned(await self._changes.put(self._writer.empty_log)))


def _removes(command: Command) -> bool:
    """Say whether a command leaves something in the log that is meant to be gone: deleted or replaced."""
    if isinstance(command, Update):
        return command.title is not None or command.model is not None or command.metadata is not None
    return isinstance(command, Delete)


def _returned(answer: Any) -> Any:
    if isinstance(answer, SessionaryError):
        raise answer
    return answer
