"""Commands that wait for sessions which another transaction has locked, apart from all other commands."""

import asyncio
from collections.abc import Sequence
from typing import Final

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.base import Command, Outcome, size_of
from sessionary.server.store.batching import Batcher
from sessionary.server.store.postgres.writing import Blocked, Result, Writer
from sessionary.server.store.rules import SessionKey, session_key

_PAUSE_SECONDS: Final = 0.03
_REASON: Final = "another transaction holds a lock on the session, or keeps changing it"


class LockedSessions:
    """The sessions that commands wait for; every further command for one of them waits, too."""

    def __init__(self, writer: Writer, seconds_max: float) -> None:
        """Take the writer of the other commands; a command waits for at most ``seconds_max``."""
        self._writer: Final = writer
        self._seconds_max: Final = seconds_max
        self._waiting: Final[dict[SessionKey, int]] = {}

    async def apply_others(self, commands: Sequence[Command]) -> list[Result]:
        """Apply the commands whose sessions nobody waits for; the others are blocked without a look at the database."""
        if not self._waiting:
            return await self._writer.apply(commands)
        # Computed once, because it changes while the others are applied.
        held = [session_key(command) in self._waiting for command in commands]
        free = [command for command, is_held in zip(commands, held, strict=True) if not is_held]
        results = iter(await self._writer.apply(free) if free else ())
        return [Blocked() if is_held else next(results) for is_held in held]

    async def wait(self, command: Command, batcher: Batcher[Command, Result], started: float) -> Outcome:
        """Try a command repeatedly until its session is not locked, or until its time is over."""
        key = session_key(command)
        ends_at = started + self._seconds_max - _PAUSE_SECONDS
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            while True:
                # An attempt is never cancelled: it might be applied without the caller's knowledge.
                result = await batcher.put(command, size_of(command), command.organisation)
                if not isinstance(result, Blocked):
                    return result
                if asyncio.get_running_loop().time() > ends_at:
                    return StoreUnavailableError(reason=_REASON, unchanged=True)
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
