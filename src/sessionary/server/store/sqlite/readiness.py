"""Whether a write would succeed: known from the last one, and tried only where that is long ago or failed."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.sqlite.disk_space import check_room, is_short_of_room

READ_ONLY: Final = "The database may only be read."

_SECONDS_PROVED: Final = 5.0
"""How long a write that succeeded, or could have, stands for the next ones."""
_SECONDS_FAILED: Final = 1.0
"""How long an attempt that failed stands for the next ones: who asks often does not load a store that is in trouble."""


class WriteProof:
    """Remembers how the last write ended, and tries one when asked for more than that tells."""

    def __init__(self, real: Path, attempt: Callable[[bool], Awaitable[None]]) -> None:
        """Take the file, and how to try: begin a transaction and give it up or, if told so, write and commit one."""
        self._real: Final = real
        self._attempt: Final = attempt
        self._proved_until = 0.0
        self._failed = False
        self._failures = 0
        self._failed_until = 0.0
        self._error = StoreUnavailableError()
        self._trial: asyncio.Task[None] | None = None

    def succeeded(self) -> None:
        """Learn that a write succeeded: one that brought something to the disk."""
        self._failed = False
        self._failed_until = 0.0
        self._proved_until = asyncio.get_running_loop().time() + _SECONDS_PROVED

    def failed(self) -> None:
        """Learn that a write failed: until one succeeds, to begin one proves nothing."""
        self._failed = True
        self._failures += 1
        self._proved_until = 0.0

    async def check(self) -> None:
        """Raise StoreUnavailableError unless a write would succeed."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._proved_until:
            return
        if loop.time() < self._failed_until:
            raise StoreUnavailableError(self._error.detail, reason=self._error.reason)
        if self._trial is None or self._trial.done():
            self._trial = loop.create_task(self._try())
            self._trial.add_done_callback(lambda trial: trial.cancelled() or trial.exception())
        # Many who ask at once are answered by one trial, also where one of them gives up.
        await asyncio.shield(self._trial)

    async def _try(self) -> None:
        failures = self._failures
        try:
            await asyncio.to_thread(_check_place, self._real, has_failed=self._failed)
            await self._attempt(self._failed)
        except StoreUnavailableError as error:
            self._error = error
            self._failed_until = asyncio.get_running_loop().time() + _SECONDS_FAILED
            raise
        # A write that failed meanwhile tells more.
        if failures == self._failures:
            self.succeeded()


def _check_place(real: Path, *, has_failed: bool) -> None:
    for place in (real, real.parent):
        if not os.access(place, os.W_OK):
            raise StoreUnavailableError(READ_ONLY, reason=f"{place} may not be written to")
    try:
        if has_failed or is_short_of_room(real):
            check_room(real)
    except OSError as error:
        raise StoreUnavailableError(reason=f"{error.filename}: {error.strerror}") from error
