"""Sweeping is bounded, goes on while anything has expired, and survives errors."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from sessionary.errors import StoreUnavailableError
from sessionary.server.operations.expiry import BATCH_MAX, sweep, sweep_forever
from sessionary.server.store.base import SweepResult
from tests.conformance.builders import HOUR, CommandBuilder, ManualClock, apply_all, list_query, listed
from tests.reference import ReferenceStore


class FlakyStore(ReferenceStore):
    """The reference store, which records the limits of its sweeps, and fails as often as a test sets."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.limits: list[int] = []
        self.outages = 0
        self.errors = 0

    async def sweep(self, limit: int) -> SweepResult:
        """Delete expired sessions; see ``Store``."""
        self.limits.append(limit)
        if self.outages:
            self.outages -= 1
            raise StoreUnavailableError
        if self.errors:
            self.errors -= 1
            raise ZeroDivisionError
        return await super().sweep(limit)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> FlakyStore:
    return FlakyStore(clock)


async def create_sessions(store: FlakyStore, clock: ManualClock, sessions: int) -> None:
    build = CommandBuilder(clock)
    await apply_all(store, [build.create() for _ in range(sessions)])


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what happens inside has no event to wait for
            await asyncio.sleep(0.001)


async def run_sweeper_during(store: FlakyStore, body: Callable[[], Awaitable[None]]) -> None:
    sweeper = asyncio.create_task(sweep_forever(store, 0.01))
    await body()
    assert not sweeper.done()
    sweeper.cancel()
    await asyncio.wait((sweeper,))
    assert sweeper.cancelled()


async def test_a_sweep_deletes_everything_expired_in_bounded_batches(store: FlakyStore, clock: ManualClock) -> None:
    await create_sessions(store, clock, 2 * BATCH_MAX + 7)
    clock.move(HOUR)
    assert await sweep(store) == 2 * BATCH_MAX + 7
    assert store.limits == [BATCH_MAX] * 3
    assert await listed(store, list_query()) == []


async def test_a_sweep_without_expired_sessions_is_one_batch(store: FlakyStore, clock: ManualClock) -> None:
    await create_sessions(store, clock, 5)
    assert await sweep(store) == 0
    assert len(store.limits) == 1


async def test_the_sweeper_repeats_and_logs_what_it_deleted(
    store: FlakyStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def body() -> None:
        await wait_until(lambda: len(store.limits) > 2)
        assert caplog.messages == [], "an empty sweep is not logged"
        await create_sessions(store, clock, 3)
        clock.move(HOUR)
        await wait_until(lambda: bool(caplog.messages))
        assert caplog.messages == ["Swept 3 expired sessions."]

    await run_sweeper_during(store, body)


async def test_the_sweeper_survives_an_outage_of_the_store(
    store: FlakyStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await create_sessions(store, clock, 3)
    clock.move(HOUR)
    store.outages = 3

    async def body() -> None:
        await wait_until(lambda: "Swept 3 expired sessions." in caplog.messages)
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 3 + ["INFO"]

    await run_sweeper_during(store, body)


async def test_the_sweeper_survives_and_logs_an_internal_error(
    store: FlakyStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await create_sessions(store, clock, 3)
    clock.move(HOUR)
    store.errors = 2

    async def body() -> None:
        await wait_until(lambda: "Swept 3 expired sessions." in caplog.messages)
        assert [record.levelname for record in caplog.records] == ["ERROR"] * 2 + ["INFO"]
        assert caplog.records[0].exc_info is not None

    await run_sweeper_during(store, body)
