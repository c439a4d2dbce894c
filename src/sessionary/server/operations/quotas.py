"""Quotas: how many live sessions an organisation may have, and how many bytes of messages in them.

What is there is measured when an organisation is first heard of, in bounded pages, and from then on counted: room is
reserved before a command is applied and given back if it had no effect. What this process does not see, sessions that
expire and what other servers do, is measured again every few seconds, and whenever there seems to be no room.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Final

import msgspec

from sessionary.errors import (
    OverloadedError,
    PreconditionFailedError,
    QuotaExceededError,
    SessionaryError,
    SessionNotFoundError,
    StoreUnavailableError,
    UnavailableError,
)
from sessionary.server.operations.limits import Limits, Quota
from sessionary.server.operations.usage_counts import NOTHING, UsageCount, total
from sessionary.server.store.base import (
    CURSOR_START,
    Command,
    Create,
    Deleted,
    Outcome,
    Store,
    Usage,
    UsagePage,
    stored_size_of,
)

REMEMBERED_MAX: Final = 10_000
MEASURING_WAIT_SECONDS: Final = 2.0
"""A command waits at most so long for a measurement; of an organisation of millions it goes on without the command."""
MEASURING: Final = "measure-usage"
"""The name of the tasks that measure."""
_FULL_MEASURED_SECONDS: Final = 1.0
_MEASURED_SECONDS: Final = 5.0
_MEASURED_PART: Final = 10
"""Measuring takes at most one part in so many of the time, however many sessions there are."""
_PAGE_TRIES: Final = 5
_PAGE_PAUSE_SECONDS: Final = 0.1
_IMPOSSIBLE_VERSION: Final = 0

_logger: Final = logging.getLogger("sessionary.server.quotas")


class Quotas:
    """Applies commands within their organisations' quotas."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        clock: Callable[[], float],
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        """Count what happens in this store through here, by a clock of seconds that never runs backwards."""
        self._store: Final = store
        self._allowances = limits
        self._clock: Final = clock
        self._remembered_max: Final = remembered_max
        self._counts: Final = OrderedDict[str, UsageCount]()

    def set_limits(self, limits: Limits) -> None:
        """Hold to other quotas from now on; what is counted goes on being counted."""
        self._allowances = limits

    async def apply(self, command: Command) -> Outcome:
        """Apply a command if there is room for what it adds; raises QuotaExceededError, and as ``Store.apply`` does.

        Raises OverloadedError, with nothing changed, while it is not yet known what there is.
        """
        quota = self._allowances.quotas.get(command.organisation, self._allowances.quota)
        if not quota.is_any:
            return await self._apply(command)
        count = self._count_of(command.organisation)
        count.users += 1
        try:
            wanted = Usage(1 if isinstance(command, Create) else 0, stored_size_of(command))
            adds = bool(wanted.sessions or wanted.stored_bytes)
            if adds and not await self._find_room(count, wanted, quota):
                return await self._repeat(command, quota)
            return await self._apply_counted(command, count, wanted)
        finally:
            count.users -= 1

    async def _apply_counted(self, command: Command, count: UsageCount, wanted: Usage) -> Outcome:
        change = count.begin(wanted)
        try:
            outcome = await self._apply(command)
        except OverloadedError:
            # Refused before anything was done.
            count.end(change, NOTHING)
            raise
        except BaseException:
            # A caller that hung up, or a store that did not answer: what it was sent may still have its effect.
            count.end_unknown(change, self._clock())
            raise
        if _is_unknown(outcome):
            count.end_unknown(change, self._clock())
        elif isinstance(outcome, SessionaryError) or outcome.replayed:
            count.end(change, NOTHING)
        elif isinstance(outcome, Deleted):
            count.end_removal(change)
        else:
            count.end(change, wanted)
        return outcome

    async def _find_room(self, count: UsageCount, wanted: Usage, quota: Quota) -> bool:
        if count.measured is None:
            await self._measured(count, 0.0)
        elif self._is_due(count, _MEASURED_SECONDS):
            self._measure(count)
        if not count.has_room(wanted, quota):
            await self._measured(count, _FULL_MEASURED_SECONDS)
        return count.has_room(wanted, quota)

    async def _repeat(self, command: Command, quota: Quota) -> Outcome:
        """Answer what was done before under the same key; nothing new, for there is no room."""
        refusal = QuotaExceededError(
            f"The organisation may have at most {quota.sessions or 'any number of'} live sessions"
            f" and {quota.stored_bytes or 'any number of'} bytes of messages in them."
        )
        if command.idempotency_key is None:
            raise refusal
        outcome = await self._apply(msgspec.structs.replace(command, if_version=_IMPOSSIBLE_VERSION))
        if isinstance(outcome, PreconditionFailedError | SessionNotFoundError):
            raise refusal
        return outcome

    async def _apply(self, command: Command) -> Outcome:
        return await self._store.apply(command)

    async def _measured(self, count: UsageCount, seconds: float) -> None:
        """Wait, not for ever, for the measurement on its way, or for a new one if the last is older than ``seconds``.

        Raises OverloadedError if nothing is known after that.
        """
        if count.measurement is None and (count.measured is None or self._is_due(count, seconds)):
            self._measure(count)
        if count.measurement is not None:
            await asyncio.wait((count.measurement,), timeout=MEASURING_WAIT_SECONDS)
        if count.measured is None:
            raise OverloadedError(reason="an organisation's usage is still being measured for its quota")

    def _is_due(self, count: UsageCount, seconds: float) -> bool:
        pause = max(seconds, count.measuring_seconds * _MEASURED_PART)
        return count.measurement is None and self._clock() - count.measured_at >= pause

    def _measure(self, count: UsageCount) -> None:
        count.measurement = asyncio.get_running_loop().create_task(self._run_measure(count), name=MEASURING)

    async def _run_measure(self, count: UsageCount) -> None:
        began = self._clock()
        try:
            await count.begin_measurement()
            count.end_measurement(await self._count_all(count.organisation), began)
        except UnavailableError as error:
            # Those who wait are told so, the next one tries again, and what was known before holds on.
            _logger.warning("An organisation's usage could not be measured for its quota: %s", error.reason or error)
        except Exception:
            _logger.exception("An organisation's usage could not be measured for its quota, for a reason of ours.")
        finally:
            count.measured_at = self._clock()
            count.measuring_seconds = count.measured_at - began
            count.measurement = None

    async def _count_all(self, organisation: str) -> Usage:
        usage, after = NOTHING, CURSOR_START
        while True:
            page = await self._count_page(organisation, after)
            usage = total(usage, page)
            if page.after is None:
                return usage
            after = page.after

    async def _count_page(self, organisation: str, after: str) -> UsagePage:
        """Count a page; a store that is busy for a moment shall not cost all the pages before."""
        for tried in range(_PAGE_TRIES - 1):
            try:
                return await self._store.measure_usage(organisation, after)
            except UnavailableError:
                await asyncio.sleep(_PAGE_PAUSE_SECONDS * 2**tried)
        return await self._store.measure_usage(organisation, after)

    def _count_of(self, organisation: str) -> UsageCount:
        count = self._counts.get(organisation)
        if count is None:
            count = self._counts[organisation] = UsageCount(organisation)
            self._forget()
        self._counts.move_to_end(organisation)
        return count

    def _forget(self) -> None:
        """Forget the least recently used of too many, unless something relies on it."""
        excess = max(0, len(self._counts) - self._remembered_max)
        for organisation in list(islice(self._counts, excess)):
            if not self._counts[organisation].is_needed:
                del self._counts[organisation]


def _is_unknown(outcome: Outcome) -> bool:
    """Whether a command may have had its effect, though nobody could say so: also where something of ours broke."""
    return isinstance(outcome, StoreUnavailableError) or type(outcome) is SessionaryError
