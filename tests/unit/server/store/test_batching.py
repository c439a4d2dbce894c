"""A batcher puts what arrives while a batch runs into the next one, sets each result once, and never stops."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence

import pytest

from sessionary.errors import (
    InternalServerError,
    OverloadedError,
    SessionaryError,
    SessionNotFoundError,
    StoreUnavailableError,
)
from sessionary.server.store.batching import Batcher, BatcherLimits
from tests.harness.virtual_time import on_virtual_time

Answer = int | SessionaryError

FAST = 0.2
PATIENT = 30.0


def limits(
    *,
    waiting_max: int = 100,
    waiting_bytes_max: int = 1_000_000,
    batch_max: int = 100,
    batch_bytes_max: int = 1_000_000,
    seconds_max: float = PATIENT,
) -> BatcherLimits:
    return BatcherLimits(waiting_max, waiting_bytes_max, batch_max, batch_bytes_max, seconds_max)


class Doubler:
    """Answers each number with its double, one batch at a time, while its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.batches: list[list[int]] = []
        self.running = 0

    async def __call__(self, items: Sequence[int]) -> list[Answer]:
        self.batches.append(list(items))
        self.running += 1
        self.started.set()
        assert self.running == 1, "one batch at a time"
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        return [2 * item for item in items]


async def all_of(*results: Awaitable[Answer]) -> list[Answer]:
    return list(await asyncio.gather(*results))


@on_virtual_time
async def test_an_item_gets_its_result() -> None:
    batcher = Batcher[int, int](Doubler(), limits())

    assert await batcher.put(21) == 42


@on_virtual_time
async def test_an_item_alone_does_not_wait_for_others() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits())
    began = asyncio.get_running_loop().time()

    for number in range(100):
        assert await batcher.put(number) == 2 * number

    assert run.batches == [[number] for number in range(100)]
    assert asyncio.get_running_loop().time() - began < 2


@on_virtual_time
async def test_what_arrives_while_a_batch_runs_goes_into_the_next() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits())
    results = [batcher.put(0)]
    await run.started.wait()

    results += [batcher.put(number) for number in (1, 2, 3)]
    run.gate.set()

    assert await all_of(*results) == [0, 2, 4, 6]
    assert run.batches == [[0], [1, 2, 3]]


@on_virtual_time
async def test_what_arrives_in_one_tick_is_one_batch() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits())

    await all_of(*(batcher.put(number) for number in range(5)))

    assert run.batches == [[0, 1, 2, 3, 4]]


@on_virtual_time
async def test_items_are_run_and_get_their_results_in_order() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits(batch_max=7, waiting_max=1000))

    results = await all_of(*(batcher.put(number) for number in range(500)))

    assert results == [2 * number for number in range(500)]
    assert [number for batch in run.batches for number in batch] == list(range(500))
    assert {len(batch) for batch in run.batches} == {7, 500 % 7}


@on_virtual_time
async def test_the_bytes_of_a_batch_are_limited() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits(batch_bytes_max=10))

    await all_of(*(batcher.put(number, size) for number, size in enumerate([4, 4, 4, 2, 4, 9, 1, 1])))

    assert run.batches == [[0, 1], [2, 3, 4], [5, 6], [7]]


@on_virtual_time
async def test_an_item_larger_than_a_batch_runs_alone() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits(batch_bytes_max=10))

    await all_of(batcher.put(0, 5), batcher.put(1, 50), batcher.put(2, 5))

    assert run.batches == [[0], [1], [2]]


@on_virtual_time
async def test_an_error_is_a_result() -> None:
    error = SessionNotFoundError()

    async def run(items: Sequence[int]) -> list[Answer]:
        return [error if item % 2 else item for item in items]

    batcher = Batcher[int, int](run, limits())

    assert await all_of(batcher.put(0), batcher.put(1), batcher.put(2)) == [0, error, 2]


@on_virtual_time
async def test_too_many_items_are_refused_at_once() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits(waiting_max=4))
    results = [batcher.put(0)]
    await run.started.wait()
    results += [batcher.put(number) for number in (1, 2, 3)]

    with pytest.raises(OverloadedError):
        batcher.put(4)

    run.gate.set()
    assert await all_of(*results) == [0, 2, 4, 6]
    assert run.batches == [[0], [1, 2, 3]]


@on_virtual_time
async def test_too_many_bytes_are_refused_at_once() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits(waiting_bytes_max=14))
    results = [batcher.put(0, 6), batcher.put(1, 4)]

    with pytest.raises(OverloadedError):
        batcher.put(2, 1)
    results.append(batcher.put(3, 0))

    assert await all_of(*results) == [0, 2, 6]


@on_virtual_time
async def test_room_is_given_back_when_items_run() -> None:
    batcher = Batcher[int, int](Doubler(), limits(waiting_max=3, waiting_bytes_max=14))

    for _ in range(20):
        assert await all_of(batcher.put(1, 5), batcher.put(2, 5)) == [2, 4]


@on_virtual_time
async def test_an_item_that_waited_half_its_time_is_refused() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits(seconds_max=FAST, batch_max=1))
    loop = asyncio.get_running_loop()
    began = loop.time()
    run.gate.clear()
    stuck, late = batcher.put(0), batcher.put(1)

    assert isinstance(await late, OverloadedError)

    assert FAST / 2 <= loop.time() - began < 5
    assert isinstance(await stuck, StoreUnavailableError)
    assert run.batches == [[0]], "what was refused as late has not been run"


@on_virtual_time
async def test_only_late_items_are_refused() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits(seconds_max=2, batch_max=1))
    stuck, late = batcher.put(0), batcher.put(1)
    await asyncio.sleep(0.5)
    in_time = batcher.put(2, 0, "another")

    assert isinstance(await late, OverloadedError)
    assert not in_time.done()
    run.gate.set()

    assert await in_time == 4
    assert stuck.done()


@on_virtual_time
async def test_a_queue_of_late_items_has_room_again() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits(seconds_max=FAST, batch_max=1, waiting_max=4, waiting_bytes_max=4))
    results = [batcher.put(0, 1)]
    await run.started.wait()
    results += [batcher.put(number, 1) for number in (1, 2, 3)]
    for outcome in await all_of(*results):
        assert isinstance(outcome, OverloadedError | StoreUnavailableError)

    run.gate.set()

    assert await all_of(*(batcher.put(number, 1, str(number)) for number in (5, 6, 7))) == [10, 12, 14]


@on_virtual_time
async def test_a_run_past_its_time_is_cancelled_and_its_outcome_unknown() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits(seconds_max=FAST))

    results = await all_of(batcher.put(0), batcher.put(1))

    assert [type(result) for result in results] == [StoreUnavailableError] * 2
    assert run.running == 0
    run.gate.set()
    assert await batcher.put(3) == 6


@on_virtual_time
async def test_a_caller_that_disconnected_while_waiting_is_not_run() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits())
    first = batcher.put(0)
    await run.started.wait()
    others = [batcher.put(number) for number in (1, 2, 3)]

    others[1].cancel()
    run.gate.set()

    assert await all_of(first, others[0], others[2]) == [0, 2, 6]
    assert run.batches == [[0], [1, 3]]


@on_virtual_time
async def test_callers_that_all_disconnected_leave_nothing_to_run() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits())

    for result in [batcher.put(number) for number in range(5)]:
        result.cancel()
    await batcher.drain()

    assert run.batches == []
    assert await batcher.put(1) == 2


@on_virtual_time
async def test_a_caller_that_disconnects_while_its_batch_runs_does_not_affect_others() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits())
    results = [batcher.put(number) for number in range(3)]
    await run.started.wait()

    results[1].cancel()
    run.gate.set()

    assert await results[0] == 0
    assert await results[2] == 4
    assert await batcher.put(5) == 10


@on_virtual_time
async def test_a_caller_that_disconnected_gets_no_late_result() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits(seconds_max=FAST, batch_max=1))
    stuck, gone, late = batcher.put(0), batcher.put(1), batcher.put(2)

    gone.cancel()

    assert isinstance(await late, OverloadedError)
    assert isinstance(await stuck, StoreUnavailableError)
    assert gone.cancelled()


@pytest.mark.parametrize("error", [StoreUnavailableError("gone"), OverloadedError()], ids=["unknown", "overloaded"])
@on_virtual_time
async def test_an_error_of_the_whole_batch_is_the_result_of_each_of_its_items(error: SessionaryError) -> None:
    async def run(items: Sequence[int]) -> list[Answer]:
        if 0 in items:
            raise error
        return list(items)

    batcher = Batcher[int, int](run, limits(batch_max=2))

    results = await all_of(*(batcher.put(number) for number in range(4)))

    assert [type(result) for result in results] == [type(error), type(error), int, int]


@pytest.mark.parametrize("error", [ValueError("internal"), KeyError("internal"), RecursionError(), MemoryError()])
@on_virtual_time
async def test_an_unexpected_error_is_logged_and_stops_nothing(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(items: Sequence[int]) -> list[Answer]:
        if 0 in items:
            raise error
        return list(items)

    batcher = Batcher[int, int](run, limits(batch_max=2))

    with caplog.at_level(logging.ERROR, "sessionary.server.store"):
        results = await all_of(*(batcher.put(number) for number in range(4)))

    assert [type(result) for result in results] == [InternalServerError, InternalServerError, int, int]
    assert "internal" not in str(results[0]), "callers see nothing internal"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert await batcher.put(7) == 7


@on_virtual_time
async def test_a_time_out_inside_the_run_is_an_unknown_outcome() -> None:
    async def run(_: Sequence[int]) -> list[Answer]:
        raise TimeoutError

    batcher = Batcher[int, int](run, limits())

    assert isinstance(await batcher.put(1), StoreUnavailableError)


@on_virtual_time
async def test_a_run_that_was_cancelled_from_inside_stops_nothing() -> None:
    async def run(items: Sequence[int]) -> list[Answer]:
        if 0 in items:
            raise asyncio.CancelledError
        return list(items)

    batcher = Batcher[int, int](run, limits(batch_max=1, seconds_max=2))

    async with asyncio.timeout(5):
        cancelled, next_one = await all_of(batcher.put(0), batcher.put(1))

    assert isinstance(cancelled, SessionaryError)
    assert next_one == 1


@on_virtual_time
async def test_a_batcher_that_is_cancelled_itself_ends() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits())
    result = batcher.put(1)
    await run.started.wait()

    (runner,) = asyncio.all_tasks() - {asyncio.current_task()}
    runner.cancel()
    await asyncio.wait([runner])

    assert runner.cancelled()
    assert run.running == 0
    result.cancel()


@pytest.mark.parametrize("results", [[], [1], [1, 2, 3]])
@on_virtual_time
async def test_a_run_that_returns_a_wrong_number_of_results_leaves_nobody_waiting(results: list[Answer]) -> None:
    async def run(items: Sequence[int]) -> list[Answer]:
        return results if len(items) > 1 else list(items)

    batcher = Batcher[int, int](run, limits(batch_max=2, seconds_max=2))

    async with asyncio.timeout(5):
        first, second, third = await all_of(batcher.put(0), batcher.put(1), batcher.put(2))

    assert isinstance(first, SessionaryError)
    assert isinstance(second, SessionaryError)
    assert third == 2


@on_virtual_time
async def test_draining_waits_for_all_that_was_accepted() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits(batch_max=2))
    results = [batcher.put(number) for number in range(7)]

    await batcher.drain()

    assert all(result.done() for result in results)
    assert await all_of(*results) == [2 * number for number in range(7)]


@on_virtual_time
async def test_draining_a_batcher_that_is_idle_returns_at_once() -> None:
    batcher = Batcher[int, int](Doubler(), limits())

    await batcher.drain()
    assert await batcher.put(1) == 2
    await batcher.drain()
    await batcher.drain()


@on_virtual_time
async def test_draining_waits_no_longer_than_the_time_of_what_runs() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits(seconds_max=FAST))
    result = batcher.put(1)

    async with asyncio.timeout(5):
        await batcher.drain()

    assert isinstance(await result, StoreUnavailableError)


@on_virtual_time
async def test_a_thousand_callers_over_many_batches_each_get_their_own_result() -> None:
    run = Doubler()
    batcher = Batcher[int, int](run, limits(waiting_max=5_000, batch_max=64))

    async def call(number: int) -> None:
        for step in range(10):
            await asyncio.sleep(0)
            assert await batcher.put(number * 10 + step) == 2 * (number * 10 + step)

    await asyncio.gather(*map(call, range(300)))

    assert sorted(number for batch in run.batches for number in batch) == list(range(3000))


@on_virtual_time
async def test_after_an_outage_no_request_is_refused() -> None:
    run = Doubler()
    run.gate.clear()
    batcher = Batcher[int, int](run, limits(batch_max=1, seconds_max=FAST))
    for _ in range(4):
        assert isinstance(await batcher.put(0), StoreUnavailableError)

    run.gate.set()

    assert await all_of(*(batcher.put(number) for number in (1, 2, 3))) == [2, 4, 6]
