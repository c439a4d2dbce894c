"""What one organisation has, counted from a measurement and from everything that was done since.

Changes that were on their way when a measurement began are waited for, so it has seen them; changes that begin while it
runs are counted besides. Where it cannot be known whether a change was seen, or whether it had an effect at all, it
counts as being there: an organisation may have too little room for a moment, never too much.
"""

import asyncio
from typing import Final

from msgspec import Struct

from sessionary.server.operations.limits import Quota
from sessionary.server.store.base import Usage

UNKNOWN_SECONDS: Final = 10.0
"""After so long the effect of a change that nobody was told of is there, or never will be: a measurement decides."""
_UNKNOWN_MAX: Final = 16
NOTHING: Final = Usage(0, 0)


class Change(Struct, eq=False):
    """A change on its way: what it may add, and how many measurements had begun and ended when it began."""

    wanted: Usage
    begun: int
    ended: int
    over: asyncio.Future[None]


class _Unknown(Struct):
    at: float
    usage: Usage


class UsageCount:
    """Counts what an organisation has; ``users`` are the commands that rely on it."""

    def __init__(self, organisation: str) -> None:
        """Know nothing until the first measurement."""
        self.organisation: Final = organisation
        self.users: int = 0
        self.measured: Usage | None = None
        self.measured_at: float = 0.0
        self.measuring_seconds: float = 0.0
        self.measurement: asyncio.Task[None] | None = None
        self._in_flight: Final[set[Change]] = set()
        self._reserved = NOTHING
        self._since = NOTHING
        self._unknown: list[_Unknown] = []
        self._begun = 0
        self._ended = 0

    @property
    def is_needed(self) -> bool:
        """Whether forgetting it would lose what no measurement can tell."""
        return bool(self.users or self._unknown or self.measurement is not None)

    def has_room(self, wanted: Usage, quota: Quota) -> bool:
        """Whether what is wanted fits beside all that is there, on its way, or possibly there."""
        held = total(self.measured or NOTHING, self._reserved, *(unknown.usage for unknown in self._unknown))
        return _fits(held.sessions, wanted.sessions, quota.sessions) and _fits(
            held.stored_bytes, wanted.stored_bytes, quota.stored_bytes
        )

    def begin(self, wanted: Usage) -> Change:
        """Reserve room for a change; ``end``, ``end_unknown`` or ``end_removal`` gives it back."""
        self._reserved = total(self._reserved, wanted)
        change = Change(wanted, self._begun, self._ended, asyncio.get_running_loop().create_future())
        self._in_flight.add(change)
        return change

    def end(self, change: Change, done: Usage) -> None:
        """Count what a change has added."""
        self._finish(change)
        if self.measured is not None:
            self.measured = total(self.measured, done)
        if self.measurement is not None and change.begun == self._begun:
            self._since = total(self._since, done)

    def end_unknown(self, change: Change, now: float) -> None:
        """Count a change that may have had its effect or not, until a measurement that is certain to tell."""
        self._finish(change)
        if not (change.wanted.sessions or change.wanted.stored_bytes):
            return
        self._unknown.append(_Unknown(now, change.wanted))
        if len(self._unknown) > _UNKNOWN_MAX:
            first, second = self._unknown[:2]
            self._unknown[:2] = [_Unknown(second.at, total(first.usage, second.usage))]

    def end_removal(self, change: Change) -> None:
        """Count that a session is gone, unless a measurement ended meanwhile: that one may have seen it."""
        self._finish(change)
        if self.measured is not None and change.ended == self._ended:
            self.measured = total(self.measured, Usage(-1, 0))

    async def begin_measurement(self) -> None:
        """Wait until everything that is on its way now is there: then a measurement sees it."""
        self._begun += 1
        self._since = NOTHING
        if self._in_flight:
            await asyncio.wait([change.over for change in self._in_flight])

    def end_measurement(self, usage: Usage, began: float) -> None:
        """Take over what was measured."""
        self._ended += 1
        self.measured = total(usage, self._since)
        self._unknown = [unknown for unknown in self._unknown if unknown.at > began - UNKNOWN_SECONDS]

    def _finish(self, change: Change) -> None:
        self._in_flight.discard(change)
        self._reserved = total(self._reserved, Usage(-change.wanted.sessions, -change.wanted.stored_bytes))
        change.over.set_result(None)


def total(*usages: Usage) -> Usage:
    """Add usages up."""
    return Usage(sum(usage.sessions for usage in usages), sum(usage.stored_bytes for usage in usages))


def _fits(held: int, wanted: int, most: int) -> bool:
    return not most or not wanted or held + wanted <= most
