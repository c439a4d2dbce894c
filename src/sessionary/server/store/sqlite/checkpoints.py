"""Checkpoints: copying the log into the file, beside the writer instead of inside its commits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import apsw

from sessionary.server.store.sqlite import connections
from sessionary.server.store.sqlite.file_watch import FileWatch
from sessionary.server.store.sqlite.worker_thread import WorkThread

_logger: Final = logging.getLogger("sessionary.server.store")

_SECONDS_BETWEEN: Final = 0.2
_LOG_FRAMES_MAX: Final = 16_384
"""64 MiB. Under constant load the log would never start over by itself: past this, the writer is asked to."""
_TRIES_MAX: Final = 10
"""How often in a row the log is tried to be emptied between short reads; then the next write or sweep asks again."""


class Checkpointer:
    """Checkpoints soon after writes, never when nothing was written."""

    def __init__(
        self,
        connection: apsw.Connection,
        start_log_over: Callable[[], Awaitable[bool]],
        empty_log: Callable[[], Awaitable[bool]],
        watch: FileWatch,
    ) -> None:
        """Use a connection of its own; the two others begin the log anew, or cut it to nothing, between two batches.

        They answer whether they could: both are for the writer, and so must not wait for anybody who reads.
        """
        self._connection: Final = connection
        self._start_log_over: Final = start_log_over
        self._empty_log: Final = empty_log
        self._watch: Final = watch
        self._thread: Final = WorkThread("sessionary-checkpointer", connection.interrupt)
        self._task: asyncio.Task[None] | None = None
        self._due = False
        # At first unknown: a process before may have removed something and been killed.
        self._remembers = True
        self._forgets = False
        self._insists = False
        self._tries = 0
        self._closing = False
        self._is_complete = False

    def written(self) -> None:
        """Say that there is something to copy."""
        self._due = True
        self._watch.unsettle()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._checkpoint_while_due())

    def removed(self) -> None:
        """Say that the log may hold what is meant to be gone."""
        self._remembers = True

    def forget(self) -> None:
        """Have the log emptied soon, if it holds what is meant to be gone."""
        if self._remembers:
            self._forgets, self._tries = True, 0
            self.written()

    def save(self) -> None:
        """Have the log emptied as soon as nobody reads: the file that it belongs to has been moved."""
        self._forgets = self._insists = True
        self.written()

    async def close(self) -> None:
        """Wait for the checkpoint that runs, then close the connection."""
        self._closing = True
        if self._task is not None:
            await asyncio.wait((self._task,))
        await self._thread.run(lambda: connections.close(self._connection))
        await self._thread.close()

    async def _checkpoint_while_due(self) -> None:
        while self._due:
            await asyncio.sleep(_SECONDS_BETWEEN)
            self._due = False
            try:
                await self._checkpoint()
            except Exception as error:  # noqa: BLE001 - housekeeping
                _logger.warning("A checkpoint failed (%s); the next write will ask for another.", type(error).__name__)
            if self._insists and not self._closing:
                self._due = True
        if self._is_complete:
            self._watch.settle()
        self._task = None

    async def _checkpoint(self) -> None:
        self._is_complete = False
        frames, copied = await self._thread.run(self._copy)
        self._is_complete = copied == frames
        if copied < frames:
            # A reader is in the way, such as a backup. The log grows until it is through; the writer goes on.
            return
        if self._forgets:
            await self._forget()
        elif frames > _LOG_FRAMES_MAX:
            await self._start_log_over()

    async def _forget(self) -> None:
        # In the file what was removed is zeros by now; in the log it still stands as it was.
        self._remembers = False
        emptied = False
        try:
            emptied = await self._empty_log()
        finally:
            self._remembers = self._remembers or not emptied
            self._forgets = not emptied
        self._insists = self._insists and not emptied
        self._tries = 0 if emptied else self._tries + 1
        if not emptied and self._tries < _TRIES_MAX:
            self._due = not self._closing

    def _copy(self) -> tuple[int, int]:
        return self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
