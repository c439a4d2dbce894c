"""Batches: what arrives while one batch runs goes into the next one.

Nothing is delayed to fill a batch. An idle store adds no latency; under load the batches grow until the database is
busy all the time. A request that would wait too long is rejected at once (load shedding).
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from msgspec import Struct

from sessionary.errors import InternalServerError, OverloadedError, SessionaryError, StoreUnavailableError
from sessionary.server.store.latency import LatencyEstimator
from sessionary.server.store.queueing import FairQueue, QueuedItem, share_of

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAIT_PART: Final = 8
"""An item that is expected to take more than this part of its time (one eighth) is refused at once."""
_SLOW_PART: Final = 20
"""A batch that takes more than this part of an item's time is followed by a shorter one."""
_LATE_CHECKS: Final = 16
"""Late items are looked for at most so often in half of an item's time: each check looks at every organisation."""

_LATE: Final = "requests waited too long in the queue of the store"
_TOO_LONG: Final = "requests would have to wait too long in the queue of the store"
_logger: Final = logging.getLogger("sessionary.server.store")


class BatcherLimits(Struct, frozen=True):
    """The limits of a batcher: items and bytes in its queue, items and bytes in a batch, seconds for each item.

    An item may wait for half of the seconds; its batch may run for the other half. An item that is expected to take
    more than an eighth of them is refused at once, unless it goes with the next batch.
    """

    waiting_max: int
    waiting_bytes_max: int
    batch_max: int
    batch_bytes_max: int
    seconds_max: float


class _Entry(QueuedItem, Generic[Item, Result], eq=False):
    item: Item
    result: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """A bounded, fair queue whose items are run in batches, one batch at a time.

    ``run`` takes the items of a batch and returns the result of each of them, in order; an error is a result, too. It
    is cancelled when its time is over. Whatever it raises becomes the result of the batch's items; the batcher goes on.
    """

    def __init__(
        self, run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | SessionaryError]]], limits: BatcherLimits
    ) -> None:
        """Start with an empty queue and nothing running."""
        self._run: Final = run
        self._limits: Final = limits
        self._half: Final = limits.seconds_max / 2
        self._queue: Final = FairQueue[_Entry[Item, Result | SessionaryError]](
            limits.waiting_max, limits.waiting_bytes_max
        )
        self._latency: Final = LatencyEstimator(limits.batch_max, limits.seconds_max / _SLOW_PART, self._half)
        self._share: Final = share_of(limits.waiting_max)
        self._share_bytes: Final = share_of(limits.waiting_bytes_max)
        self._batch_started = math.inf
        self._runner: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def put(self, item: Item, size: int = 0, organisation: str = "") -> asyncio.Future[Result | SessionaryError]:
        """Queue an item of ``size`` bytes; raises OverloadedError if there is no room or it would wait too long."""
        queue = self._queue
        # Below these bounds nobody's share is used up and nobody waits for more than a batch: no need to check.
        count = queue.count
        if count >= self._latency.batch_max or count >= self._share or queue.size + size > self._share_bytes:
            self._check_room(size, organisation)
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result | SessionaryError] = loop.create_future()
        late_at = loop.time() + self._half
        queue.add(_Entry(size, late_at, item, result), organisation)
        if self._runner is None:
            self._runner = loop.create_task(self._run_all())
        if self._timer is None:
            self._timer = loop.call_at(late_at, self._refuse_late)
        return result

    async def drain(self) -> None:
        """Return when the queue is empty and nothing runs."""
        while self._runner is not None:
            await asyncio.wait((self._runner,))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _run_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue.count:
                self._batch_started = loop.time()
                taken = self._queue.take_batch(self._latency.batch_max, self._limits.batch_bytes_max)
                batch = _in_time(taken, self._batch_started)
                # An outage says nothing about the latency: the first requests after it must not be refused for it.
                if batch and await self._run_one(batch):
                    self._latency.record(len(batch), loop.time() - self._batch_started)
        finally:
            self._batch_started = math.inf
            self._runner = None

    async def _run_one(self, batch: list[_Entry[Item, Result | SessionaryError]]) -> bool:
        """Run a batch and set its results; return whether the store was available."""
        results: Sequence[Result | SessionaryError]
        try:
            async with asyncio.timeout(self._half):
                results = _counted(await self._run([entry.item for entry in batch]), len(batch))
        except SessionaryError as error:
            results = [error] * len(batch)
        except TimeoutError:
            self._latency.record_timeout(len(batch))
            results = [StoreUnavailableError()] * len(batch)
        except asyncio.CancelledError:
            # If only the work was cancelled, the batcher goes on; if the batcher itself was cancelled, it ends.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            results = [StoreUnavailableError()] * len(batch)
        except Exception:
            _logger.exception("A batch of %d items failed with an unexpected error.", len(batch))
            results = [InternalServerError()] * len(batch)
        for entry, result in zip(batch, results, strict=True):
            _set_result(entry, result)
        return not all(isinstance(result, StoreUnavailableError) for result in results)

    def _check_room(self, size: int, organisation: str) -> None:
        self._queue.check_room(size, organisation)
        if self._queue.count >= self._latency.batch_max:
            self._check_wait(organisation, asyncio.get_running_loop().time())

    def _check_wait(self, organisation: str, now: float) -> None:
        """Raise OverloadedError if the organisation's next item would take too long: its caller then loses no time.

        An organisation with nothing in the queue is refused only if the item would be late anyway.
        """
        batches = self._queue.count_before(organisation) // self._latency.batch_max
        if not batches:
            return
        running = max(self._latency.seconds, now - self._batch_started)
        most = self._limits.seconds_max / _WAIT_PART if self._queue.has_items(organisation) else self._half
        if running + (batches + 1) * self._latency.seconds > most:
            raise OverloadedError(reason=_TOO_LONG)

    def _refuse_late(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for entry in self._queue.take_late(now):
            _set_result(entry, OverloadedError(reason=_LATE))
        self._timer = None
        if self._queue.count:
            next_at = max(self._queue.next_late_at(), now + self._half / _LATE_CHECKS)
            self._timer = loop.call_at(next_at, self._refuse_late)


def _in_time(
    taken: Sequence[_Entry[Item, Result | SessionaryError]], now: float
) -> list[_Entry[Item, Result | SessionaryError]]:
    for entry in taken:
        if entry.late_at <= now:
            _set_result(entry, OverloadedError(reason=_LATE))
    # A caller that disconnected while its item was queued has cancelled the future: the item is not run.
    return [entry for entry in taken if not entry.result.done()]


def _set_result(entry: _Entry[Item, Result | SessionaryError], result: Result | SessionaryError) -> None:
    # A caller that disconnected meanwhile has cancelled its future.
    if not entry.result.done():
        entry.result.set_result(result)


def _counted(results: Sequence[Result], count: int) -> Sequence[Result]:
    if len(results) != count:
        raise AssertionError(f"{len(results)} results for {count} items")
    return results


def value_or_raise(result: Result | SessionaryError) -> Result:
    """Return a result; raises it if it is an error."""
    if isinstance(result, SessionaryError):
        raise result
    return result
