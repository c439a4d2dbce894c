"""The usage of one organisation: a measurement, plus everything that this process has done since.

A measurement waits for the changes that are in flight when it starts, so it includes them; changes that start while it
runs are added to it. A change that may or may not be included, or may or may not have been applied, counts as included:
so an organisation may be refused too early for a moment, but it never gets more than its quota.
"""

import asyncio
from typing import Final

from msgspec import Struct

from sessionary.server.operations.limits import Quota
from sessionary.server.store.base import Usage

UNKNOWN_SECONDS: Final = 10.0
"""After this time a change of unknown outcome has been applied or never will be, so a measurement is right about it."""
_UNKNOWN_MAX: Final = 16
NO_USAGE: Final = Usage(0, 0)


class PendingChange(Struct, eq=False):
    """A change in flight: what it may add, and how many measurements had started and ended when it started."""

    requested: Usage
    measurements_started: int
    measurements_ended: int
    finished: asyncio.Future[None]


class _UnknownChange(Struct):
    at: float
    usage: Usage


class UsageTracker:
    """Tracks what one organisation stores; ``active_commands`` counts the commands that are using this tracker."""

    def __init__(self, organisation: str) -> None:
        """Start without a measurement: ``measured`` is None until the first one."""
        self.organisation: Final = organisation
        self.active_commands: int = 0
        self.measured: Usage | None = None
        self.measured_at: float = 0.0
        self.measuring_seconds: float = 0.0
        self.measurement: asyncio.Task[None] | None = None
        self._in_flight: Final[set[PendingChange]] = set()
        self._reserved = NO_USAGE
        self._added_while_measuring = NO_USAGE
        self._unknown: list[_UnknownChange] = []
        self._measurements_started = 0
        self._measurements_ended = 0

    @property
    def is_in_use(self) -> bool:
        """Whether dropping this tracker would lose what a new measurement could not restore."""
        return bool(self.active_commands or self._unknown or self.measurement is not None)

    def has_room(self, requested: Usage, quota: Quota) -> bool:
        """Whether the quota has room for the request beside what is stored, reserved, or possibly stored."""
        used = add_usage(self.measured or NO_USAGE, self._reserved, *(unknown.usage for unknown in self._unknown))
        return _fits(used.sessions, requested.sessions, quota.sessions) and _fits(
            used.stored_bytes, requested.stored_bytes, quota.stored_bytes
        )

    def start_change(self, requested: Usage) -> PendingChange:
        """Reserve room for a change, until one of the ``finish_...`` methods is called with the result."""
        self._reserved = add_usage(self._reserved, requested)
        finished = asyncio.get_running_loop().create_future()
        change = PendingChange(requested, self._measurements_started, self._measurements_ended, finished)
        self._in_flight.add(change)
        return change

    def finish_change(self, change: PendingChange, added: Usage) -> None:
        """Count what a change has added."""
        self._release(change)
        if self.measured is not None:
            self.measured = add_usage(self.measured, added)
        if self.measurement is not None and change.measurements_started == self._measurements_started:
            self._added_while_measuring = add_usage(self._added_while_measuring, added)

    def finish_unknown(self, change: PendingChange, now: float) -> None:
        """Count a change whose outcome is unknown as applied, until a measurement is certain to show it."""
        self._release(change)
        if not (change.requested.sessions or change.requested.stored_bytes):
            return
        self._unknown.append(_UnknownChange(now, change.requested))
        if len(self._unknown) > _UNKNOWN_MAX:
            first, second = self._unknown[:2]
            self._unknown[:2] = [_UnknownChange(second.at, add_usage(first.usage, second.usage))]

    def finish_deletion(self, change: PendingChange) -> None:
        """Subtract a deleted session, unless a measurement ended meanwhile, which may not include it any more."""
        self._release(change)
        if self.measured is not None and change.measurements_ended == self._measurements_ended:
            self.measured = add_usage(self.measured, Usage(-1, 0))

    async def start_measurement(self) -> None:
        """Wait until all changes in flight have finished, so that the measurement includes them."""
        self._measurements_started += 1
        self._added_while_measuring = NO_USAGE
        if self._in_flight:
            await asyncio.wait([change.finished for change in self._in_flight])

    def finish_measurement(self, usage: Usage, started_at: float) -> None:
        """Replace the measured usage by a new measurement."""
        self._measurements_ended += 1
        self.measured = add_usage(usage, self._added_while_measuring)
        self._unknown = [unknown for unknown in self._unknown if unknown.at > started_at - UNKNOWN_SECONDS]

    def _release(self, change: PendingChange) -> None:
        self._in_flight.discard(change)
        self._reserved = add_usage(self._reserved, Usage(-change.requested.sessions, -change.requested.stored_bytes))
        change.finished.set_result(None)


def add_usage(*usages: Usage) -> Usage:
    """Return the sum of several usages."""
    return Usage(sum(usage.sessions for usage in usages), sum(usage.stored_bytes for usage in usages))


def _fits(used: int, requested: int, limit: int) -> bool:
    return not limit or not requested or used + requested <= limit
