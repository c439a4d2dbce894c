"""Checkpoints: copy the log into the file, in another thread instead of during commits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import apsw

from sessionary.server.store.sqlite import connections
from sessionary.server.store.sqlite.file_watch import FileWatch
from sessionary.server.store.sqlite.worker_thread import WorkerThread

_logger: Final = logging.getLogger("sessionary.server.store")

_SECONDS_BETWEEN: Final = 0.2
_LOG_FRAMES_MAX: Final = 16_384
"""64 MiB. Under constant load the log never starts over by itself; if it is longer, the writer starts it over."""
_TRIES_MAX: Final = 10
"""How often in a row to try to empty the log between short reads; the next write or sweep tries again."""


class Checkpointer:
    """Checkpoints soon after writes, never when nothing was written."""

    def __init__(
        self,
        connection: apsw.Connection,
        start_log_over: Callable[[], Awaitable[bool]],
        empty_log: Callable[[], Awaitable[bool]],
        watch: FileWatch,
    ) -> None:
        """Own a connection. ``start_log_over`` and ``empty_log`` run on the writer's, between two batches.

        They return whether they succeeded: they do not wait for readers, because the writer would wait, too.
        """
        self._connection: Final = connection
        self._start_log_over: Final = start_log_over
        self._empty_log: Final = empty_log
        self._watch: Final = watch
        self._thread: Final = WorkerThread("sessionary-checkpointer", connection.interrupt)
        self._task: asyncio.Task[None] | None = None
        self._due = False
        # Not known at startup: an earlier process may have deleted something before it was killed.
        self._has_removed_content = True
        self._empties_log = False
        self._keeps_trying = False
        self._tries = 0
        self._closing = False
        self._is_complete = False

    def schedule(self) -> None:
        """Schedule a checkpoint after a write."""
        self._due = True
        self._watch.checkpoint_pending()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._checkpoint_while_due())

    def mark_removed(self) -> None:
        """Record that the log may hold deleted content."""
        self._has_removed_content = True

    def empty_log_soon(self) -> None:
        """Schedule that the log is emptied, if it may hold deleted content."""
        if self._has_removed_content:
            self._empties_log, self._tries = True, 0
            self.schedule()

    def empty_log(self) -> None:
        """Empty the log as soon as nobody reads it: the file that it belongs to has been moved."""
        self._empties_log = self._keeps_trying = True
        self.schedule()

    async def close(self) -> None:
        """Wait for the running checkpoint, then close the connection."""
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
            if self._keeps_trying and not self._closing:
                self._due = True
        if self._is_complete:
            self._watch.checkpoint_complete()
        self._task = None

    async def _checkpoint(self) -> None:
        self._is_complete = False
        passive = apsw.SQLITE_CHECKPOINT_PASSIVE
        frames, copied = await self._thread.run(lambda: self._connection.wal_checkpoint(mode=passive))
        self._is_complete = copied == frames
        if copied < frames:
            # A reader, such as a backup, needs the old state. The log grows until it ends; the writer goes on.
            return
        if self._empties_log:
            await self._try_to_empty_log()
        elif frames > _LOG_FRAMES_MAX:
            await self._start_log_over()

    async def _try_to_empty_log(self) -> None:
        # In the file the deleted content is zeros now; in the log it is still there.
        self._has_removed_content = False
        emptied = False
        try:
            emptied = await self._empty_log()
        finally:
            self._has_removed_content = self._has_removed_content or not emptied
            self._empties_log = not emptied
        self._keeps_trying = self._keeps_trying and not emptied
        self._tries = 0 if emptied else self._tries + 1
        if not emptied and self._tries < _TRIES_MAX:
            self._due = not self._closing
