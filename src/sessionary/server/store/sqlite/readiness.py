"""Readiness: whether a write would succeed. Known from the last write; tried if that is long ago or failed."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.sqlite.disk_space import check_room, is_short_of_room

READ_ONLY: Final = "The database is read-only."

_SECONDS_SUCCEEDED: Final = 5.0
"""For how long after a successful write the next one is assumed to succeed."""
_SECONDS_FAILED: Final = 1.0
"""For how long after a failed trial the next one is assumed to fail, so that frequent checks add no load."""


class WriteCheck:
    """Remembers whether the last write succeeded, and tries one if that does not tell enough."""

    def __init__(self, real: Path, attempt: Callable[[bool], Awaitable[None]]) -> None:
        """Take the file, and ``attempt``, which begins a transaction, or commits a write if its argument is true."""
        self._real: Final = real
        self._attempt: Final = attempt
        self._succeeds_until = 0.0
        self._failed = False
        self._failures = 0
        self._failed_until = 0.0
        self._error = StoreUnavailableError()
        self._trial: asyncio.Task[None] | None = None

    def record_success(self) -> None:
        """Record that a write to the disk succeeded.

        After a failure only a trial shows that the next write would succeed too: on a disk that is almost full a small
        write still fits.
        """
        if self._failed:
            self._failed_until = 0.0
        else:
            self._succeeds_until = asyncio.get_running_loop().time() + _SECONDS_SUCCEEDED

    def record_failure(self) -> None:
        """Record that a write failed: from now on, until a trial succeeds, each check is a trial that commits."""
        self._failed = True
        self._failures += 1
        self._succeeds_until = 0.0

    async def check(self) -> None:
        """Raise StoreUnavailableError unless a write would succeed."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._succeeds_until:
            return
        if loop.time() < self._failed_until:
            raise StoreUnavailableError(self._error.detail, reason=self._error.reason)
        if self._trial is None or self._trial.done():
            self._trial = loop.create_task(self._try())
            self._trial.add_done_callback(lambda trial: trial.cancelled() or trial.exception())
        # Concurrent checks share one trial, which goes on if one of them is cancelled.
        await asyncio.shield(self._trial)

    async def _try(self) -> None:
        failures = self._failures
        try:
            await asyncio.to_thread(_check_file, self._real, has_failed=self._failed)
            await self._attempt(self._failed)
        except StoreUnavailableError as error:
            self._error = error
            self._failed_until = asyncio.get_running_loop().time() + _SECONDS_FAILED
            raise
        # A write that failed meanwhile counts more.
        if failures == self._failures:
            self._failed = False
            self._failed_until = 0.0
            self.record_success()


def _check_file(real: Path, *, has_failed: bool) -> None:
    for path in (real, real.parent):
        if not os.access(path, os.W_OK):
            raise StoreUnavailableError(READ_ONLY, reason=f"{path} is not writable")
    try:
        if has_failed or is_short_of_room(real):
            check_room(real)
    except OSError as error:
        raise StoreUnavailableError(reason=f"{error.filename}: {error.strerror}") from error
