"""Waiting for sessions that somebody else has locked, apart from everybody else's work."""

import asyncio
from collections.abc import Sequence
from typing import Final

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.base import Command, Outcome, size_of
from sessionary.server.store.batching import Batcher
from sessionary.server.store.postgres.writing import Blocked, Result, Writer
from sessionary.server.store.rules import SessionKey, session_key

_PAUSE_SECONDS: Final = 0.03
_REASON: Final = "somebody else holds a lock on the session, or keeps changing it"


class LockedSessions:
    """The sessions that commands wait for: whatever else is to be done to one of them waits here too."""

    def __init__(self, writer: Writer, seconds_max: float) -> None:
        """Take the writer whose work goes past locked sessions; each command waits here at most so long."""
        self._writer: Final = writer
        self._seconds_max: Final = seconds_max
        self._waiting: Final[dict[SessionKey, int]] = {}

    async def apply_others(self, commands: Sequence[Command]) -> list[Result]:
        """Apply the commands that need not wait; nobody asks the database for the others."""
        if not self._waiting:
            return await self._writer.apply(commands)
        # Once: who waits changes while the others are applied.
        held = [session_key(command) in self._waiting for command in commands]
        free = [command for command, is_held in zip(commands, held, strict=True) if not is_held]
        found = iter(await self._writer.apply(free) if free else ())
        return [Blocked() if is_held else next(found) for is_held in held]

    async def wait(self, command: Command, batcher: Batcher[Command, Result], began: float) -> Outcome:
        """Try a command again and again until its session is free, or its time is over and nothing was done."""
        key = session_key(command)
        ends_at = began + self._seconds_max - _PAUSE_SECONDS
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            while True:
                # A try is never given up in the middle: it might be applied, and the caller could not be told.
                answer = await batcher.put(command, size_of(command), command.organisation)
                if not isinstance(answer, Blocked):
                    return answer
                if asyncio.get_running_loop().time() > ends_at:
                    return StoreUnavailableError(reason=_REASON, unchanged=True)
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
