"""Enforcing quotas: how many live sessions an organisation may have, and how many bytes of messages they may hold.

An organisation's usage is measured at its first command, in bounded pages, and then tracked: room is reserved before a
command is applied, and released if it had no effect. Sessions that expire and changes by other servers are not seen by
this process, so usage is measured again every few seconds, and whenever there seems to be no room.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Final

import msgspec

from sessionary.errors import (
    InternalServerError,
    OverloadedError,
    PreconditionFailedError,
    QuotaExceededError,
    SessionaryError,
    SessionNotFoundError,
    StoreUnavailableError,
    UnavailableError,
)
from sessionary.server.operations.limits import Limits, Quota
from sessionary.server.operations.usage_tracker import NO_USAGE, UsageTracker, add_usage
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
MEASUREMENT_WAIT_SECONDS: Final = 2.0
"""How long a command waits for a measurement. A longer one, of millions of sessions, continues without the command."""
MEASUREMENT_TASK_NAME: Final = "measure-usage"
_FULL_MEASURED_SECONDS: Final = 1.0
_MEASURED_SECONDS: Final = 5.0
_MEASURING_SHARE: Final = 10
"""Measuring takes at most one tenth of the time, however many sessions there are."""
_PAGE_TRIES: Final = 5
_PAGE_PAUSE_SECONDS: Final = 0.1
_IMPOSSIBLE_VERSION: Final = 0

_logger: Final = logging.getLogger("sessionary.server.quotas")


class QuotaEnforcer:
    """Applies commands to the store if they are within their organisations' quotas."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        clock: Callable[[], float],
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        """Track the usage of this store; ``clock`` returns seconds and never runs backwards."""
        self._store: Final = store
        self._limits = limits
        self._clock: Final = clock
        self._remembered_max: Final = remembered_max
        self._trackers: Final = OrderedDict[str, UsageTracker]()

    def set_limits(self, limits: Limits) -> None:
        """Replace the quotas; the tracked usage is kept."""
        self._limits = limits

    async def apply(self, command: Command) -> Outcome:
        """Apply a command if there is room for what it adds; raises QuotaExceededError, and as ``Store.apply`` does.

        Raises OverloadedError, and changes nothing, while the organisation's usage has not been measured yet.
        """
        quota = self._limits.quotas.get(command.organisation, self._limits.quota)
        if not quota.is_limited:
            return await self._store.apply(command)
        tracker = self._tracker_for(command.organisation)
        tracker.active_commands += 1
        try:
            requested = Usage(1 if isinstance(command, Create) else 0, stored_size_of(command))
            adds_usage = bool(requested.sessions or requested.stored_bytes)
            if adds_usage and not await self._find_room(tracker, requested, quota):
                return await self._replay_or_refuse(command, quota)
            return await self._apply_tracked(command, tracker, requested)
        finally:
            tracker.active_commands -= 1

    async def _apply_tracked(self, command: Command, tracker: UsageTracker, requested: Usage) -> Outcome:
        change = tracker.start_change(requested)
        try:
            outcome = await self._store.apply(command)
        except OverloadedError:
            # Refused before anything was done.
            tracker.finish_change(change, NO_USAGE)
            raise
        except BaseException:
            # The caller disconnected, or the store did not respond: the command may still be applied.
            tracker.finish_unknown(change, self._clock())
            raise
        if isinstance(outcome, StoreUnavailableError | InternalServerError):
            # It is unknown whether the command was applied.
            tracker.finish_unknown(change, self._clock())
        elif isinstance(outcome, SessionaryError) or outcome.replayed:
            tracker.finish_change(change, NO_USAGE)
        elif isinstance(outcome, Deleted):
            tracker.finish_deletion(change)
        else:
            tracker.finish_change(change, requested)
        return outcome

    async def _find_room(self, tracker: UsageTracker, requested: Usage, quota: Quota) -> bool:
        if tracker.measured is None:
            await self._wait_for_measurement(tracker, 0.0)
        elif self._is_due(tracker, _MEASURED_SECONDS):
            self._start_measurement(tracker)
        if not tracker.has_room(requested, quota):
            await self._wait_for_measurement(tracker, _FULL_MEASURED_SECONDS)
        return tracker.has_room(requested, quota)

    async def _replay_or_refuse(self, command: Command, quota: Quota) -> Outcome:
        """Return the earlier result of the same idempotency key; raises QuotaExceededError if there is none."""
        refusal = QuotaExceededError(
            f"The organisation may have at most {quota.sessions or 'any number of'} live sessions"
            f" and {quota.stored_bytes or 'any number of'} bytes of messages in them."
        )
        if command.idempotency_key is None:
            raise refusal
        outcome = await self._store.apply(msgspec.structs.replace(command, if_version=_IMPOSSIBLE_VERSION))
        if isinstance(outcome, PreconditionFailedError | SessionNotFoundError):
            raise refusal
        return outcome

    async def _wait_for_measurement(self, tracker: UsageTracker, seconds: float) -> None:
        """Wait for the running measurement, or for a new one if the last is older than ``seconds``.

        Waits for a bounded time; raises OverloadedError if there is no measurement after that.
        """
        if tracker.measurement is None and (tracker.measured is None or self._is_due(tracker, seconds)):
            self._start_measurement(tracker)
        if tracker.measurement is not None:
            await asyncio.wait((tracker.measurement,), timeout=MEASUREMENT_WAIT_SECONDS)
        if tracker.measured is None:
            raise OverloadedError(reason="an organisation's usage is still being measured for its quota")

    def _is_due(self, tracker: UsageTracker, seconds: float) -> bool:
        pause = max(seconds, tracker.measuring_seconds * _MEASURING_SHARE)
        return tracker.measurement is None and self._clock() - tracker.measured_at >= pause

    def _start_measurement(self, tracker: UsageTracker) -> None:
        tracker.measurement = asyncio.get_running_loop().create_task(
            self._run_measurement(tracker), name=MEASUREMENT_TASK_NAME
        )

    async def _run_measurement(self, tracker: UsageTracker) -> None:
        started_at = self._clock()
        try:
            await tracker.start_measurement()
            tracker.finish_measurement(await self._measure_all(tracker.organisation), started_at)
        except UnavailableError as error:
            # Waiting commands are refused, the next one tries again, and the previous measurement stays in force.
            _logger.warning("An organisation's usage could not be measured for its quota: %s", error.reason or error)
        except Exception:
            _logger.exception("An organisation's usage could not be measured because of an internal error.")
        finally:
            tracker.measured_at = self._clock()
            tracker.measuring_seconds = tracker.measured_at - started_at
            tracker.measurement = None

    async def _measure_all(self, organisation: str) -> Usage:
        usage, after = NO_USAGE, CURSOR_START
        while True:
            page = await self._measure_page(organisation, after)
            usage = add_usage(usage, page)
            if page.after is None:
                return usage
            after = page.after

    async def _measure_page(self, organisation: str, after: str) -> UsagePage:
        """Measure one page, with retries: a store that is busy for a moment must not discard all earlier pages."""
        for tried in range(_PAGE_TRIES - 1):
            try:
                return await self._store.measure_usage(organisation, after)
            except UnavailableError:
                await asyncio.sleep(_PAGE_PAUSE_SECONDS * 2**tried)
        return await self._store.measure_usage(organisation, after)

    def _tracker_for(self, organisation: str) -> UsageTracker:
        tracker = self._trackers.get(organisation)
        if tracker is None:
            tracker = self._trackers[organisation] = UsageTracker(organisation)
            self._evict()
        self._trackers.move_to_end(organisation)
        return tracker

    def _evict(self) -> None:
        """Drop the least recently used trackers beyond the maximum, unless they are in use."""
        excess = max(0, len(self._trackers) - self._remembered_max)
        for organisation in list(islice(self._trackers, excess)):
            if not self._trackers[organisation].is_in_use:
                del self._trackers[organisation]
