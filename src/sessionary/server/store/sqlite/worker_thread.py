"""A thread that does one piece of work at a time for the event loop."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import apsw

from sessionary.errors import SessionaryError, StoreUnavailableError
from sessionary.server.store.sqlite.disk_space import DISK_FULL

Result = TypeVar("Result")

_logger: Final = logging.getLogger("sessionary.server.store")


class WorkerThread:
    """Runs blocking work on a thread of its own.

    If the caller is cancelled, the work is interrupted and awaited, so that work does not pile up on a slow disk.
    """

    def __init__(self, name: str, interrupt: Callable[[], None]) -> None:
        """Name the thread; ``interrupt`` makes the running work end soon, with an error."""
        self._interrupt: Final = interrupt
        self._executor: Final = ThreadPoolExecutor(1, name)
        self._job: asyncio.Future[Any] | None = None

    async def settle(self) -> None:
        """Return when no work is running; none starts until the caller awaits again."""
        while self._job is not None and not self._job.done():
            await asyncio.wait((self._job,))

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run the work and return its result; driver errors become errors of the contract."""
        await self.settle()
        job: asyncio.Future[Result] = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._job = job
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            job.add_done_callback(_log_abandoned)
            self._interrupt()
            raise
        except apsw.Error as error:
            raise translate_error(error) from error

    async def close(self) -> None:
        """Stop the thread when its work is done."""
        await asyncio.to_thread(self._executor.shutdown)


def _log_abandoned(job: asyncio.Future[Any]) -> None:
    if not job.cancelled() and (error := job.exception()) is not None:
        _logger.warning("Work whose caller was cancelled ended with %s.", type(error).__name__)


def translate_error(error: apsw.Error) -> SessionaryError:
    """Turn a driver error into the error that callers see; the operator finds the whole reason in the log."""
    _logger.warning("SQLite refused: %s", error)
    return StoreUnavailableError(DISK_FULL if isinstance(error, apsw.FullError) else None, reason=f"SQLite: {error}")
