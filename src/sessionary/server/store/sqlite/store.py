"""The store on SQLite: one file, one writer, and readers that never wait for it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import apsw

from sessionary.errors import StoreUnavailableError, TokenNotFoundError
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
from sessionary.server.store.batching import Batcher, BatcherLimits, value_or_raise
from sessionary.server.store.sqlite.checkpoints import Checkpointer
from sessionary.server.store.sqlite.connections import close, connect, unusable_file
from sessionary.server.store.sqlite.file_lock import FileLock
from sessionary.server.store.sqlite.file_watch import FILE_GONE, FileWatch
from sessionary.server.store.sqlite.overwrite_detection import OverwriteDetector
from sessionary.server.store.sqlite.paths import real_path
from sessionary.server.store.sqlite.readiness import WriteCheck
from sessionary.server.store.sqlite.reading import Reader
from sessionary.server.store.sqlite.worker_thread import WorkerThread, translate_error
from sessionary.server.store.sqlite.writing import Writer

Result = TypeVar("Result")
Work = Callable[[], Any]

_SHORT_CONVERSATION_BYTES: Final = 128 * 1024
"""Up to this size a read takes less time than waking a thread."""
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
            self._overwrites: Final = OverwriteDetector(real_path(path), connected(0))
            self._watch: Final = FileWatch(path, self._on_lost, self._overwrites)
            self._short_reader: Final = Reader(connected(0), clock)
            self._long_reader: Final = Reader(connected(busy_seconds), clock)
            self._checkpointer: Final = Checkpointer(connected(0), self._start_log_over, self._empty_log, self._watch)
            self._watch.check_all()
            opened.pop_all()
        self._file_lock: FileLock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writing: Final = WorkerThread("sessionary-writer", self._writer.interrupt)
        self._reading: Final = WorkerThread("sessionary-reader", self._long_reader.interrupt)
        batches = BatcherLimits(4_096, _WAITING_BYTES, 512, _WAITING_BYTES // 4, seconds_max)
        singles = BatcherLimits(1_024, _WAITING_BYTES, 1, _WAITING_BYTES, seconds_max)
        self._commands: Final = Batcher[Command, Outcome](
            lambda batch: self._track_outcome(self._run_commands(batch)), batches
        )
        self._changes: Final = Batcher[Work, Any](lambda work: self._track_outcome(self._run_change(work)), singles)
        self._reads: Final = Batcher[Work, Any](self._run_read, singles)
        self._write_check: Final = WriteCheck(real_path(path), self._try_write)
        self._closed = False

    @classmethod
    async def open(cls, path: Path, clock: Clock, seconds_max: float, *, shared: bool = False) -> Self:
        """Open the file; raises StoreUnavailableError with the reason.

        Only one server can open a file; ``shared`` is for administrators' commands beside it.
        """
        try:
            hold = None if shared else await asyncio.to_thread(lambda: FileLock(real_path(path)))
        except OSError as error:
            raise unusable_file(path, error) from error
        try:
            store = await asyncio.to_thread(cls, path, clock, seconds_max)
        except BaseException as error:
            if hold is not None:
                hold.release()
            if isinstance(error, apsw.Error | OSError):
                raise unusable_file(path, error) from error
            raise
        store._file_lock, store._loop = hold, asyncio.get_running_loop()  # noqa: SLF001 - its own
        return store

    async def apply(self, command: Command) -> Outcome:
        """Apply a command; see ``Store``."""
        return await self._commands.put(command, size_of(command), command.organisation)

    async def fetch(self, organisation: str, session_id: str, window: Window | None = None) -> Conversation:
        """Read a session and its messages; see ``Store``."""
        self._check_overwritten()
        try:
            short = self._short_reader.fetch(organisation, session_id, window, _SHORT_CONVERSATION_BYTES)
        except apsw.BusyError:
            short = None
        except apsw.Error as error:
            raise translate_error(error) from error
        if short is not None:
            return short
        return await self._read(lambda: self._long_reader.fetch_whole(organisation, session_id, window), organisation)

    async def list_sessions(self, query: ListQuery) -> Page:
        """Read a page of live sessions; see ``Store``."""
        self._check_overwritten()
        if not query.is_quick:
            return await self._read(lambda: self._long_reader.list_sessions(query), query.organisation)
        try:
            return self._short_reader.list_sessions(query)
        except apsw.BusyError:
            return await self._read(lambda: self._long_reader.list_sessions(query), query.organisation)
        except apsw.Error as error:
            raise translate_error(error) from error

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        """Count the sessions and bytes of a page; see ``Store``."""
        return await self._read(lambda: self._long_reader.measure_usage(organisation, after, limit), organisation)

    async def sweep(self, limit: int) -> SweepResult:
        """Delete what has expired; see ``Store``."""
        result, has_deleted = await self._change(lambda: self._writer.sweep(limit))
        if has_deleted:
            self._checkpointer.mark_removed()
        if not result.more:
            self._checkpointer.empty_log_soon()
        return result

    async def create_token(self, token: StoredToken, actor: str = OPERATOR) -> None:
        """Store a token; see ``Store``."""
        await self._change(lambda: self._writer.create_token(token, actor))

    async def find_token(self, token_id: str) -> StoredToken | None:
        """Read a token; see ``Store``."""
        self._check_overwritten()
        try:
            return self._short_reader.find_token(token_id)
        except apsw.BusyError:
            return await self._read(lambda: self._long_reader.find_token(token_id))
        except apsw.Error as error:
            raise translate_error(error) from error

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
        """Store when tokens were last used; see ``Store``."""
        await self._change(lambda: self._writer.note_token_uses(used_at))

    async def note(self, record: AuditRecord) -> None:
        """Store an audit record; see ``Store``."""
        await self._change(lambda: self._writer.note(record))

    async def list_audit(self, limit: int, after: int = 0) -> list[AuditRecord]:
        """Read audit records; see ``Store``."""
        return await self._read(lambda: self._long_reader.list_audit(limit, after))

    async def ready(self) -> None:
        """Return if reads and writes would succeed; see ``Store``."""
        self._watch.check_all()
        await self._read(self._long_reader.ping)
        await self._write_check.check()

    async def close(self) -> None:
        """Finish the accepted requests and close the file; see ``Store``."""
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
        self._overwrites.close()
        if self._file_lock is not None:
            self._file_lock.release()

    async def _track_outcome(self, write: Awaitable[Result]) -> Result:
        """Record whether a write succeeded; a batch that had nothing to write does not count."""
        before = self._writer.writes
        try:
            result = await write
        except (StoreUnavailableError, asyncio.CancelledError):
            self._write_check.record_failure()
            raise
        if self._writer.writes != before:
            self._write_check.record_success()
        return result

    async def _try_write(self, commits: bool) -> None:  # noqa: FBT001 - as the writer's
        value_or_raise(await self._changes.put(lambda: self._checked(lambda: self._writer.try_write(commits))))

    async def _run_commands(self, commands: Sequence[Command]) -> Sequence[Outcome]:
        outcomes = await self._prepare(commands)
        if outcomes is None:
            self._watch.check()
            outcomes = await self._writing.run(lambda: self._writer.apply(commands))
        else:
            await self._commit()
        if any(map(_removes, commands)):
            self._checkpointer.mark_removed()
        self._checkpointer.schedule()
        return outcomes

    async def _prepare(self, commands: Sequence[Command]) -> Sequence[Outcome] | None:
        """Run a short batch up to its commit on the event loop, where it costs less than in a thread."""
        if any(isinstance(command, Delete) for command in commands) or sum(map(size_of, commands)) > _SHORT_BATCH_BYTES:
            return None
        await self._writing.settle()
        try:
            return self._writer.prepare(commands)
        except apsw.Error as error:
            raise translate_error(error) from error

    async def _commit(self) -> None:
        try:
            self._watch.check()
        except StoreUnavailableError:
            self._writer.undo()
            raise
        await self._writing.run(self._writer.commit)

    def _check_overwritten(self) -> None:
        if self._watch.is_overwritten:
            raise StoreUnavailableError(FILE_GONE, reason="another program overwrote the database file", unchanged=True)

    def _checked(self, work: Callable[[], Result]) -> Result:
        self._watch.check()
        return work()

    def _on_lost(self) -> None:
        # The log must be copied into the file that it was written for, wherever that is now, and not be left beside a
        # file that replaced it: SQLite would use it for that file. If the file was overwritten in place, all of the log
        # had been copied before, so emptying it does not change the new content.
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._checkpointer.empty_log)

    async def _run_change(self, work: Sequence[Work]) -> Sequence[Any]:
        return [await self._writing.run(work[0])]

    async def _run_read(self, work: Sequence[Work]) -> Sequence[Any]:
        return [await self._reading.run(work[0])]

    async def _change(self, work: Callable[[], Result]) -> Result:
        result: Result = value_or_raise(await self._changes.put(lambda: self._checked(work)))
        self._checkpointer.schedule()
        return result

    async def _read(self, work: Callable[[], Result], organisation: str = "") -> Result:
        self._check_overwritten()
        result: Result = value_or_raise(await self._reads.put(work, 0, organisation))
        return result

    async def _start_log_over(self) -> bool:
        # Not counted as a write: it leaves nothing to copy, and would cause the next checkpoint, for ever.
        return bool(value_or_raise(await self._changes.put(self._writer.start_log_over)))

    async def _empty_log(self) -> bool:
        return bool(value_or_raise(await self._changes.put(self._writer.empty_log)))


def _removes(command: Command) -> bool:
    """Return whether a command leaves deleted or replaced content in the log."""
    if isinstance(command, Update):
        return command.title is not None or command.model is not None or command.metadata is not None
    return isinstance(command, Delete)
