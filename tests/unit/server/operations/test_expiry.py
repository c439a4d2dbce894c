"""Housekeeping: sweeps are bounded, go on while anything is due, and outlive an outage."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from sessionary.errors import StoreUnavailableError
from sessionary.server.operations.expiry import BATCH_MAX, sweep, sweep_forever
from sessionary.server.store.base import SweepResult
from tests.conformance.making import HOUR, HandClock, Making, apply_all, listed, listing
from tests.reference import ReferenceStore


class Counting(ReferenceStore):
    """The reference, which also keeps how its sweeps were asked for, and fails as often as it is told to."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.asked: list[int] = []
        self.outages = 0
        self.errors = 0

    async def sweep(self, limit: int) -> SweepResult:
        """Remove what has expired; see ``Store``."""
        self.asked.append(limit)
        if self.outages:
            self.outages -= 1
            raise StoreUnavailableError
        if self.errors:
            self.errors -= 1
            raise ZeroDivisionError
        return await super().sweep(limit)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(clock: HandClock) -> Counting:
    return Counting(clock)


async def fill(store: Counting, clock: HandClock, sessions: int) -> None:
    making = Making(clock)
    await apply_all(store, [making.create() for _ in range(sessions)])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what happens inside has no event to wait for
            await asyncio.sleep(0.001)


async def swept_in_the_background(store: Counting, body: Callable[[], Awaitable[None]]) -> None:
    sweeper = asyncio.create_task(sweep_forever(store, 0.01))
    await body()
    assert not sweeper.done()
    sweeper.cancel()
    await asyncio.wait((sweeper,))
    assert sweeper.cancelled()


async def test_a_sweep_removes_all_that_is_due_in_bounded_batches(store: Counting, clock: HandClock) -> None:
    await fill(store, clock, 2 * BATCH_MAX + 7)
    clock.move(HOUR)
    assert await sweep(store) == 2 * BATCH_MAX + 7
    assert store.asked == [BATCH_MAX] * 3
    assert await listed(store, listing()) == []


async def test_a_sweep_asks_once_when_nothing_is_due(store: Counting, clock: HandClock) -> None:
    await fill(store, clock, 5)
    assert await sweep(store) == 0
    assert len(store.asked) == 1


async def test_the_sweeper_sweeps_again_and_again_and_tells_what_it_removed(
    store: Counting, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def body() -> None:
        await until(lambda: len(store.asked) > 2)
        assert caplog.messages == [], "nothing is said of nothing"
        await fill(store, clock, 3)
        clock.move(HOUR)
        await until(lambda: bool(caplog.messages))
        assert caplog.messages == ["Swept 3 expired sessions."]

    await swept_in_the_background(store, body)


async def test_the_sweeper_outlives_an_outage_of_the_store(
    store: Counting, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await fill(store, clock, 3)
    clock.move(HOUR)
    store.outages = 3

    async def body() -> None:
        await until(lambda: "Swept 3 expired sessions." in caplog.messages)
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 3 + ["INFO"]

    await swept_in_the_background(store, body)


async def test_the_sweeper_outlives_an_error_of_ours_and_tells_of_it(
    store: Counting, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await fill(store, clock, 3)
    clock.move(HOUR)
    store.errors = 2

    async def body() -> None:
        await until(lambda: "Swept 3 expired sessions." in caplog.messages)
        assert [record.levelname for record in caplog.records] == ["ERROR"] * 2 + ["INFO"]
        assert caplog.records[0].exc_info is not None

    await swept_in_the_background(store, body)
