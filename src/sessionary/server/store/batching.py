"""Gathering: what arrives while one batch runs goes into the next.

Nothing is held back: when idle there is no added latency, and under load the batches grow until the database is busy
all the time.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from msgspec import Struct

from sessionary.errors import InternalServerError, OverloadedError, SessionaryError, StoreUnavailableError
from sessionary.server.store.latency import Pace
from sessionary.server.store.queueing import FairQueue, Waiting, share_of

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_WAIT_PART: Final = 8
"""The part of its time after which an item must be expected to be answered, one in so many."""
_LONG_PART: Final = 20
"""The part of its time that a batch may take without being shortened, one in so many."""
_LOOKS: Final = 16
"""How often in half of an item's time the late ones are looked for: it costs a look at every line."""

_LATE: Final = "requests waited too long for their turn in the store"
_TOO_LONG: Final = "requests would have to wait too long for their turn in the store"
_logger: Final = logging.getLogger("sessionary.server.store")


class LaneLimits(Struct, frozen=True):
    """How much a lane takes: items and bytes that wait, items and bytes a batch, seconds until an item is answered.

    Half of the seconds may pass while an item waits, the other half while its batch runs; an item that must be expected
    to be answered after more than an eighth of them is refused at once, unless it goes with the next batch.
    """

    waiting_max: int
    waiting_bytes_max: int
    batch_max: int
    batch_bytes_max: int
    seconds_max: float


class _Ticket(Waiting, Generic[Item, Answer], eq=False):
    item: Item
    answer: asyncio.Future[Answer]


class Lane(Generic[Item, Answer]):
    """A bounded queue in front of one batch at a time, in which owners take turns.

    ``run`` takes the items of a batch and answers each of them in order, an error being an answer too. It is cancelled
    when its time is over; whatever it raises is told to the callers and never stops the lane.
    """

    def __init__(
        self, run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | SessionaryError]]], bounds: LaneLimits
    ) -> None:
        """Start with nothing waiting and nothing running."""
        self._run: Final = run
        self._bounds: Final = bounds
        self._half: Final = bounds.seconds_max / 2
        self._queue: Final = FairQueue[_Ticket[Item, Answer | SessionaryError]](
            bounds.waiting_max, bounds.waiting_bytes_max
        )
        self._pace: Final = Pace(bounds.batch_max, bounds.seconds_max / _LONG_PART, self._half)
        self._share: Final = share_of(bounds.waiting_max)
        self._calm_size: Final = share_of(bounds.waiting_bytes_max)
        self._batch_began = math.inf
        self._runner: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def check_room(self, count: int, size: int, owner: str = "") -> None:
        """Raise Overloaded unless ``count`` items of ``size`` bytes together could wait now, and in good hope."""
        self._queue.check_room(count, size, owner)
        if self._queue.count >= self._pace.batch_max:
            self._check_wait(owner, asyncio.get_running_loop().time())

    def put(self, item: Item, size: int = 0, owner: str = "") -> asyncio.Future[Answer | SessionaryError]:
        """Let an item of ``size`` bytes wait for its owner's turn; raises OverloadedError if there is no room."""
        queue = self._queue
        # Up to here nobody's share is used up and nobody waits for more than a batch: nothing has to be looked up.
        if queue.count >= self._pace.batch_max or queue.count >= self._share or queue.size + size > self._calm_size:
            self.check_room(1, size, owner)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer | SessionaryError] = loop.create_future()
        late_at = loop.time() + self._half
        queue.add(_Ticket(size, late_at, item, answer), owner)
        if self._runner is None:
            self._runner = loop.create_task(self._run_all())
        if self._timer is None:
            self._timer = loop.call_at(late_at, self._refuse_late)
        return answer

    async def drain(self) -> None:
        """Return when nothing waits and nothing runs."""
        while self._runner is not None:
            await asyncio.wait((self._runner,))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _run_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue.count:
                self._batch_began = loop.time()
                gathered = self._queue.gather(self._pace.batch_max, self._bounds.batch_bytes_max)
                batch = _in_time(gathered, self._batch_began)
                # An outage tells nothing of the pace: the first to come after it are not refused for its sake.
                if batch and await self._run_one(batch):
                    self._pace.took(len(batch), loop.time() - self._batch_began)
        finally:
            self._batch_began = math.inf
            self._runner = None

    async def _run_one(self, batch: list[_Ticket[Item, Answer | SessionaryError]]) -> bool:
        """Answer a batch, and tell whether the store did."""
        outcomes: Sequence[Answer | SessionaryError]
        try:
            async with asyncio.timeout(self._half):
                outcomes = _counted(await self._run([ticket.item for ticket in batch]), len(batch))
        except SessionaryError as error:
            outcomes = [error] * len(batch)
        except TimeoutError:
            self._pace.gave_up(len(batch))
            outcomes = [StoreUnavailableError()] * len(batch)
        except asyncio.CancelledError:
            # Of the work, by whoever else had a hand in it: the lane goes on. Of the lane itself: everything ends.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            outcomes = [StoreUnavailableError()] * len(batch)
        except Exception:
            _logger.exception("A batch of %d failed for a reason of ours.", len(batch))
            outcomes = [InternalServerError()] * len(batch)
        for ticket, outcome in zip(batch, outcomes, strict=True):
            _answer(ticket, outcome)
        return not all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)

    def _check_wait(self, owner: str, now: float) -> None:
        """Raise Overloaded if the owner's next item would take too long: told now, its caller loses no time.

        An owner with nothing waiting is told so only if it would be refused for being late anyway.
        """
        batches = self._queue.ahead_of(owner) // self._pace.batch_max
        if not batches:
            return
        running = max(self._pace.seconds, now - self._batch_began)
        most = self._bounds.seconds_max / _WAIT_PART if self._queue.waits(owner) else self._half
        if running + (batches + 1) * self._pace.seconds > most:
            raise OverloadedError(reason=_TOO_LONG)

    def _refuse_late(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for ticket in self._queue.take_late(now):
            _answer(ticket, OverloadedError(reason=_LATE))
        self._timer = None
        if self._queue.count:
            next_at = max(self._queue.late_next(), now + self._half / _LOOKS)
            self._timer = loop.call_at(next_at, self._refuse_late)


def _in_time(
    gathered: Sequence[_Ticket[Item, Answer | SessionaryError]], now: float
) -> list[_Ticket[Item, Answer | SessionaryError]]:
    for ticket in gathered:
        if ticket.late_at <= now:
            _answer(ticket, OverloadedError(reason=_LATE))
    # A caller that hung up while it waited never began; its command is not applied.
    return [ticket for ticket in gathered if not ticket.answer.done()]


def _answer(ticket: _Ticket[Item, Answer | SessionaryError], outcome: Answer | SessionaryError) -> None:
    # A caller that hung up has cancelled its future; the batch went on without it.
    if not ticket.answer.done():
        ticket.answer.set_result(outcome)


def _counted(outcomes: Sequence[Answer], count: int) -> Sequence[Answer]:
    if len(outcomes) != count:
        raise AssertionError(f"{len(outcomes)} answers to {count} items")
    return outcomes
