"""Gathering: what arrives while one batch runs goes into the next.

Nothing is held back: when idle there is no added latency, and under load the batches grow until the database is busy
all the time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from msgspec import Struct

from sessionary.errors import Overloaded, SessionaryError, StoreUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


_logger: Final = logging.getLogger("sessionary.store")


class LaneLimits(Struct, frozen=True):
    """How much a lane takes: items and bytes that wait, items and bytes a batch, seconds until an item is answered.

    Half of the seconds may pass while an item waits, the other half while its batch runs.
    """

    waiting_max: int
    waiting_bytes_max: int
    batch_max: int
    batch_bytes_max: int
    seconds_max: float


class _Waiting(Generic[Item, Answer]):
    __slots__ = ("answer", "item", "late_at", "size")

    def __init__(self, item: Item, size: int, late_at: float, answer: asyncio.Future[Answer]) -> None:
        self.item = item
        self.size = size
        self.late_at = late_at
        self.answer = answer


class Lane(Generic[Item, Answer]):
    """A bounded queue in front of one batch at a time.

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
        self._waiting: deque[_Waiting[Item, Answer | SessionaryError]] = deque()
        self._waiting_bytes = 0
        self._runner: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def check_room(self, count: int, size: int) -> None:
        """Raise Overloaded unless ``count`` items of ``size`` bytes together could wait now."""
        if (
            len(self._waiting) + count > self._bounds.waiting_max
            or self._waiting_bytes + size > self._bounds.waiting_bytes_max
        ):
            raise Overloaded

    def put(self, item: Item, size: int = 0) -> asyncio.Future[Answer | SessionaryError]:
        """Let an item of ``size`` bytes wait for the next batch; raises Overloaded if there is no room."""
        self.check_room(1, size)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer | SessionaryError] = loop.create_future()
        late_at = loop.time() + self._half
        self._waiting.append(_Waiting(item, size, late_at, answer))
        self._waiting_bytes += size
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
        try:
            while self._waiting:
                batch = self._gather()
                if batch:
                    await self._run_one(batch)
        finally:
            self._runner = None

    async def _run_one(self, batch: list[_Waiting[Item, Answer | SessionaryError]]) -> None:
        outcomes: Sequence[Answer | SessionaryError]
        try:
            async with asyncio.timeout(self._half):
                outcomes = _counted(await self._run([waiting.item for waiting in batch]), len(batch))
        except SessionaryError as error:
            outcomes = [error] * len(batch)
        except TimeoutError:
            outcomes = [StoreUnavailable()] * len(batch)
        except asyncio.CancelledError:
            # Of the work, by whoever else had a hand in it: the lane goes on. Of the lane itself: everything ends.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            outcomes = [StoreUnavailable()] * len(batch)
        except Exception:
            _logger.exception("A batch of %d failed for a reason of ours.", len(batch))
            outcomes = [SessionaryError()] * len(batch)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            _answer(waiting, outcome)

    def _gather(self) -> list[_Waiting[Item, Answer | SessionaryError]]:
        batch: list[_Waiting[Item, Answer | SessionaryError]] = []
        size = 0
        while self._waiting and len(batch) < self._bounds.batch_max:
            size += self._waiting[0].size
            if batch and size > self._bounds.batch_bytes_max:
                break
            waiting = self._take()
            # A caller that hung up while it waited never began; its command is not applied.
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    def _take(self) -> _Waiting[Item, Answer | SessionaryError]:
        waiting = self._waiting.popleft()
        self._waiting_bytes -= waiting.size
        return waiting

    def _refuse_late(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiting and self._waiting[0].late_at <= now:
            _answer(self._take(), Overloaded())
        self._timer = loop.call_at(self._waiting[0].late_at, self._refuse_late) if self._waiting else None


def _answer(waiting: _Waiting[Item, Answer | SessionaryError], outcome: Answer | SessionaryError) -> None:
    # A caller that hung up has cancelled its future; the batch went on without it.
    if not waiting.answer.done():
        waiting.answer.set_result(outcome)


def _counted(outcomes: Sequence[Answer], count: int) -> Sequence[Answer]:
    if len(outcomes) != count:
        raise AssertionError(f"{len(outcomes)} answers to {count} items")
    return outcomes
