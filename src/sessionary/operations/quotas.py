"""Quotas: how many live sessions an organisation may have, and how many bytes of messages in them.

What is there is measured when an organisation is first heard of, and from then on counted: room is reserved before a
command is applied and given back if it had no effect. What this process does not see, sessions that expire and what
other servers do, is measured again every few seconds, and whenever there seems to be no room.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Final

import msgspec

from sessionary.errors import PreconditionFailed, QuotaExceeded, SessionaryError, SessionNotFound
from sessionary.operations.allowances import Allowances, Quota
from sessionary.store.base import Command, Create, Deleted, Outcome, Store, Usage, stored_size_of

REMEMBERED_MAX: Final = 10_000
_FULL_MEASURED_SECONDS: Final = 1.0
_MEASURED_SECONDS: Final = 5.0
_MEASURED_PART: Final = 10
"""Measuring takes at most one part in so many of the time, however many sessions there are."""
_RETRY_SECONDS: Final = 60.0
"""A quota is no pace: room comes by deleting and expiring, and nobody knows when."""
_IMPOSSIBLE_VERSION: Final = 0


class _Tally:
    """What one organisation has: as measured, and what was done since; ``users`` are the commands that rely on it."""

    def __init__(self, organisation: str) -> None:
        self.organisation: Final = organisation
        self.known: Usage | None = None
        self.since = Usage(0, 0)
        self.reserved = Usage(0, 0)
        self.users = 0
        self.measured_at = 0.0
        self.measuring: asyncio.Task[None] | None = None
        self.measuring_seconds = 0.0

    def has_room(self, wanted: Usage, quota: Quota) -> bool:
        """Whether what is wanted fits beside all that is there or on its way."""
        held = _sum(self.known or Usage(0, 0), self.reserved)
        return _fits(held.sessions, wanted.sessions, quota.sessions) and _fits(
            held.stored_bytes, wanted.stored_bytes, quota.stored_bytes
        )

    def add(self, done: Usage) -> None:
        """Count what was done; a measurement on its way may have seen it or not, and so counts it in any case."""
        if self.known is not None:
            self.known = _sum(self.known, done)
        if self.measuring is not None and done.sessions >= 0:
            self.since = _sum(self.since, done)


class Quotas:
    """Applies commands within their organisations' quotas."""

    def __init__(
        self,
        store: Store,
        allowances: Allowances,
        clock: Callable[[], float],
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        """Count what happens in this store through here, by a clock of seconds that never runs backwards."""
        self._store: Final = store
        self._allowances = allowances
        self._clock: Final = clock
        self._remembered_max: Final = remembered_max
        self._tallies: Final = OrderedDict[str, _Tally]()

    def set_limits(self, allowances: Allowances) -> None:
        """Hold to other quotas from now on; what is counted goes on being counted."""
        self._allowances = allowances

    async def apply(self, command: Command) -> Outcome:
        """Apply a command if there is room for what it adds; raises QuotaExceeded, and as ``Store.apply`` does."""
        quota = self._allowances.quotas.get(command.organisation, self._allowances.quota)
        if not quota.is_any:
            return await self._apply(command)
        tally = self._tally_of(command.organisation)
        tally.users += 1
        try:
            return await self._apply_counted(command, tally, quota)
        finally:
            tally.users -= 1

    async def _apply_counted(self, command: Command, tally: _Tally, quota: Quota) -> Outcome:
        wanted = Usage(1 if isinstance(command, Create) else 0, stored_size_of(command))
        if not (wanted.sessions or wanted.stored_bytes):
            outcome = await self._apply(command)
            if isinstance(outcome, Deleted) and not outcome.replayed:
                tally.add(Usage(-1, 0))
            return outcome
        if not await self._find_room(tally, wanted, quota):
            return await self._repeat(command, quota)
        tally.reserved = _sum(tally.reserved, wanted)
        done = wanted
        try:
            outcome = await self._apply(command)
            if isinstance(outcome, SessionaryError) or outcome.replayed:
                done = Usage(0, 0)
        finally:
            # Whoever was not answered may have had the effect: it counts, until it is measured again.
            tally.reserved = _sum(tally.reserved, Usage(-wanted.sessions, -wanted.stored_bytes))
            tally.add(done)
        return outcome

    async def _find_room(self, tally: _Tally, wanted: Usage, quota: Quota) -> bool:
        if tally.known is None:
            await self._measured(tally, 0.0)
        elif self._is_due(tally, _MEASURED_SECONDS):
            self._measure(tally)
        if not tally.has_room(wanted, quota):
            await self._measured(tally, _FULL_MEASURED_SECONDS)
        return tally.has_room(wanted, quota)

    async def _repeat(self, command: Command, quota: Quota) -> Outcome:
        """Answer what was done before under the same key; nothing new, for there is no room."""
        refusal = QuotaExceeded(
            f"The organisation may have at most {quota.sessions or 'any number of'} live sessions"
            f" and {quota.stored_bytes or 'any number of'} bytes of messages in them.",
            retry_after=_RETRY_SECONDS,
        )
        if command.once is None:
            raise refusal
        outcome = await self._apply(msgspec.structs.replace(command, if_version=_IMPOSSIBLE_VERSION))
        if isinstance(outcome, PreconditionFailed | SessionNotFound):
            raise refusal
        return outcome

    async def _apply(self, command: Command) -> Outcome:
        return (await self._store.apply((command,)))[0]

    async def _measured(self, tally: _Tally, seconds: float) -> None:
        """Wait for a measurement: the one on its way, or a new one if the last is older than so many seconds."""
        if tally.measuring is None and (tally.known is None or self._is_due(tally, seconds)):
            self._measure(tally)
        if tally.measuring is not None:
            await asyncio.shield(tally.measuring)

    def _is_due(self, tally: _Tally, seconds: float) -> bool:
        pause = max(seconds, tally.measuring_seconds * _MEASURED_PART)
        return tally.measuring is None and self._clock() - tally.measured_at >= pause

    def _measure(self, tally: _Tally) -> None:
        tally.since = Usage(0, 0)
        tally.measuring = asyncio.get_running_loop().create_task(self._run_measure(tally))
        # Where nobody waits for it, the next one to measure sees what is wrong.
        tally.measuring.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _run_measure(self, tally: _Tally) -> None:
        began = self._clock()
        try:
            usage = await self._store.measure_usage(tally.organisation)
            tally.known = _sum(usage, tally.since)
        finally:
            tally.measured_at = self._clock()
            tally.measuring_seconds = tally.measured_at - began
            tally.measuring = None

    def _tally_of(self, organisation: str) -> _Tally:
        tally = self._tallies.get(organisation)
        if tally is None:
            tally = self._tallies[organisation] = _Tally(organisation)
            self._forget()
        self._tallies.move_to_end(organisation)
        return tally

    def _forget(self) -> None:
        """Forget the least recently used of too many, unless a command relies on it."""
        excess = max(0, len(self._tallies) - self._remembered_max)
        for organisation in list(islice(self._tallies, excess)):
            if not self._tallies[organisation].users:
                del self._tallies[organisation]


def _fits(held: int, wanted: int, most: int) -> bool:
    return not most or not wanted or held + wanted <= most


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(one.sessions + other.sessions, one.stored_bytes + other.stored_bytes)
