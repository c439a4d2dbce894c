"""Quotas are exact within a process: never one session or byte too many, and never one refused that has room."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest

from sessionary.errors import (
    OverloadedError,
    QuotaExceededError,
    SessionaryError,
    SessionNotFoundError,
    StoreUnavailableError,
)
from sessionary.server.operations.limits import Limits, Quota
from sessionary.server.operations.quotas import MEASURING, Quotas
from sessionary.server.operations.usage_counts import UNKNOWN_SECONDS
from sessionary.server.store.base import (
    CURSOR_START,
    USAGE_PAGE_MAX,
    Command,
    Create,
    Created,
    Deleted,
    IdempotencyKey,
    Outcome,
    Updated,
    UsagePage,
    stored_size_of,
)
from sessionary.server.store.sqlite.migrations import migrate
from sessionary.server.store.sqlite.store import SqliteStore
from tests.conformance.making import MINUTE, NOVEMBER, OTHER, HandClock, Making, apply_all, delete, extend, update, user
from tests.unit.server.operations.test_rate_limiter import HandTimer

ALLOWED = 10


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def making(clock: HandClock) -> Making:
    return Making(clock)


@pytest.fixture
def timer() -> HandTimer:
    return HandTimer()


@pytest.fixture
async def store(tmp_path: Path, clock: HandClock) -> AsyncIterator[SqliteStore]:
    migrate(tmp_path / "store.db", NOVEMBER)
    store = await SqliteStore.open(tmp_path / "store.db", clock, 10.0)
    yield store
    await store.close()


class SlowlyMeasured(SqliteStore):
    """The store, with a pause between measuring and telling."""

    def __init__(self, path: Path, clock: HandClock, seconds_max: float) -> None:
        super().__init__(path, clock, seconds_max)
        self.measured = asyncio.Event()
        self.told = asyncio.Event()
        self.told.set()

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        usage = await super().measure_usage(organisation, after, limit)
        if not self.told.is_set():
            self.measured.set()
        await self.told.wait()
        return usage


def quotas_of(store: SqliteStore, timer: HandTimer, remembered_max: int = 100, **given: int) -> Quotas:
    return Quotas(store, Limits(quota=Quota(**given)), timer, remembered_max)


async def attempt(quotas: Quotas, command: Command) -> Outcome:
    """Apply a command; a refusal is an answer."""
    try:
        return await quotas.apply(command)
    except QuotaExceededError as refusal:
        return refusal


async def attempts(quotas: Quotas, commands: list[Create]) -> list[Outcome]:
    """Apply commands all at once."""
    return await asyncio.gather(*(attempt(quotas, command) for command in commands))


async def measured() -> None:
    """Wait until nothing is being measured."""
    while measuring := [task for task in asyncio.all_tasks() if task.get_name() == MEASURING]:
        await asyncio.wait(measuring)


def count_of(kind: type, outcomes: list[Outcome]) -> int:
    return sum(type(outcome) is kind for outcome in outcomes)


async def test_exactly_as_many_sessions_begin_as_are_allowed_however_many_come_at_once(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    for _ in range(3):
        await store.apply(making.create())
    quotas = quotas_of(store, timer, sessions=ALLOWED)

    outcomes = await attempts(quotas, [making.create() for _ in range(100)])

    assert count_of(Created, outcomes) == ALLOWED - 3
    assert count_of(QuotaExceededError, outcomes) == 100 - (ALLOWED - 3)
    assert (await store.measure_usage("demo")).sessions == ALLOWED


async def test_exactly_as_many_bytes_are_kept_as_are_allowed(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    beginning = making.create(user("a" * 100))
    one = stored_size_of(beginning)
    quotas = quotas_of(store, timer, stored_bytes=ALLOWED * one)
    assert isinstance(await quotas.apply(beginning), Created)

    outcomes = await asyncio.gather(
        *(attempt(quotas, update(beginning, user("a" * 100))) for _ in range(50)),
    )

    assert count_of(Updated, outcomes) == ALLOWED - 1
    assert (await store.measure_usage("demo")).stored_bytes == ALLOWED * one


async def test_what_adds_nothing_is_never_refused(store: SqliteStore, making: Making, timer: HandTimer) -> None:
    sessions = [making.create(user()) for _ in range(3)]
    await apply_all(store, sessions)
    quotas = quotas_of(store, timer, sessions=1, stored_bytes=1)

    assert isinstance(await attempt(quotas, making.create()), QuotaExceededError)
    assert isinstance(await attempt(quotas, update(sessions[0], user())), QuotaExceededError)
    assert isinstance(await attempt(quotas, update(sessions[0], metadata={"a": 1})), Updated)
    assert not isinstance(await attempt(quotas, extend(sessions[0])), Exception)
    assert isinstance(await attempt(quotas, delete(sessions[0])), Deleted)


async def test_a_deletion_makes_room_at_once(store: SqliteStore, making: Making, timer: HandTimer) -> None:
    quotas = quotas_of(store, timer, sessions=1)
    for _ in range(20):
        session = making.create()
        assert isinstance(await attempt(quotas, session), Created)
        assert isinstance(await attempt(quotas, making.create()), QuotaExceededError)
        assert isinstance(await attempt(quotas, delete(session)), Deleted)


async def test_expiry_makes_room_within_a_second(
    store: SqliteStore, making: Making, timer: HandTimer, clock: HandClock
) -> None:
    quotas = quotas_of(store, timer, sessions=1)
    assert isinstance(await attempt(quotas, making.create(minutes=5)), Created)
    clock.move(5 * MINUTE)
    timer.now += 1.0

    assert isinstance(await attempt(quotas, making.create()), Created)
    assert isinstance(await attempt(quotas, making.create()), QuotaExceededError)


async def test_the_full_are_measured_at_most_once_a_second(
    store: SqliteStore, making: Making, timer: HandTimer, clock: HandClock
) -> None:
    quotas = quotas_of(store, timer, sessions=1)
    await attempt(quotas, making.create(minutes=5))
    timer.now += 1.0
    assert isinstance(await attempt(quotas, making.create()), QuotaExceededError)
    clock.move(5 * MINUTE)
    timer.now += 0.9

    assert isinstance(await attempt(quotas, making.create()), QuotaExceededError)

    timer.now += 0.1
    assert isinstance(await attempt(quotas, making.create()), Created)


async def test_what_other_servers_do_is_seen_after_five_seconds(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    quotas = quotas_of(store, timer, sessions=ALLOWED)
    await attempt(quotas, making.create())
    await apply_all(store, [making.create() for _ in range(ALLOWED - 2)])
    timer.now += 5.0
    assert isinstance(await attempt(quotas, making.create()), Created)
    await measured()

    assert isinstance(await attempt(quotas, making.create()), QuotaExceededError)


async def test_what_is_done_while_it_is_measured_counts(
    tmp_path: Path, clock: HandClock, making: Making, timer: HandTimer
) -> None:
    migrate(tmp_path / "slow.db", NOVEMBER)
    store = await SlowlyMeasured.open(tmp_path / "slow.db", clock, 10.0)
    quotas = quotas_of(store, timer, sessions=ALLOWED)
    await attempt(quotas, making.create())
    timer.now += 5.0
    store.told.clear()
    assert isinstance(await attempt(quotas, making.create()), Created)
    await store.measured.wait()
    assert count_of(Created, await attempts(quotas, [making.create() for _ in range(5)])) == 5

    store.told.set()
    await measured()

    assert count_of(Created, await attempts(quotas, [making.create() for _ in range(20)])) == ALLOWED - 7
    assert (await store.measure_usage("demo")).sessions == ALLOWED
    await store.close()


async def test_refused_and_repeated_commands_take_no_room(store: SqliteStore, making: Making, timer: HandTimer) -> None:
    quotas = quotas_of(store, timer, sessions=2, stored_bytes=10_000)
    idempotency_key = IdempotencyKey("ada", "key", b"print")
    for _ in range(30):
        outcome = await attempt(quotas, making.create(user("a" * 100), idempotency_key=idempotency_key))
        assert isinstance(outcome, Created)
        assert isinstance(await attempt(quotas, update(making.create(), user("a" * 1_000))), SessionNotFoundError)

    assert isinstance(await attempt(quotas, making.create(user("a" * 9_000))), Created)


async def test_a_repetition_gets_its_answer_also_where_there_is_no_room_left(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    quotas = quotas_of(store, timer, sessions=1, stored_bytes=1_000)
    beginning = making.create(user("a" * 800), idempotency_key=IdempotencyKey("ada", "begin", b"print"))
    first = await attempt(quotas, beginning)
    assert isinstance(first, Created)
    again = await attempt(quotas, making.create(user("a" * 800), idempotency_key=beginning.idempotency_key))
    assert isinstance(again, Created)
    assert (again.session_id, again.replayed) == (first.session_id, True)

    unheard = IdempotencyKey("ada", "other", b"print")
    assert isinstance(await attempt(quotas, making.create(idempotency_key=unheard)), QuotaExceededError)
    assert isinstance(
        await attempt(quotas, update(beginning, user("a" * 800), idempotency_key=unheard)), QuotaExceededError
    )
    missing = making.create()
    assert isinstance(
        await attempt(quotas, update(missing, user("a" * 800), idempotency_key=unheard)), QuotaExceededError
    )
    assert (await store.measure_usage("demo")).sessions == 1


async def test_a_caller_that_hangs_up_leaves_no_reservation(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    quotas = quotas_of(store, timer, sessions=ALLOWED)
    await attempt(quotas, making.create())
    for _ in range(50):
        task = asyncio.ensure_future(attempt(quotas, making.create()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
    left = ALLOWED - (await store.measure_usage("demo")).sessions
    # So long what the store may still do counts as done.
    timer.now += UNKNOWN_SECONDS + 1.0

    outcomes = await attempts(quotas, [making.create() for _ in range(30)])

    assert count_of(Created, outcomes) == left
    assert (await store.measure_usage("demo")).sessions == ALLOWED


async def test_organisations_are_counted_apart_and_some_not_at_all(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    limits = Limits(quota=Quota(sessions=1), quotas={"free": Quota(), "demo": Quota(sessions=2)})
    quotas = Quotas(store, limits, timer)

    begun = {
        organisation: count_of(
            Created, await attempts(quotas, [making.create(organisation=organisation) for _ in range(5)])
        )
        for organisation in ("demo", OTHER, "free")
    }

    assert begun == {"demo": 2, OTHER: 1, "free": 5}


async def test_who_was_forgotten_is_measured_again(store: SqliteStore, making: Making, timer: HandTimer) -> None:
    quotas = quotas_of(store, timer, remembered_max=2, sessions=1)
    names = [f"organisation-{number}" for number in range(10)]
    for name in names:
        assert isinstance(await attempt(quotas, making.create(organisation=name)), Created)

    for name in names:
        assert isinstance(await attempt(quotas, making.create(organisation=name)), QuotaExceededError)


async def test_without_a_measurement_nothing_is_let_through(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    quotas = quotas_of(store, timer, sessions=1)
    await store.close()

    with pytest.raises(SessionaryError):
        await quotas.apply(making.create())


class Unsure(SqliteStore):
    """The store, which does not know what became of what it was given: ``effective`` says whether it was applied."""

    effective = True

    async def apply(self, command: Command) -> Outcome:
        if self.effective:
            await super().apply(command)
        return StoreUnavailableError()


async def test_what_may_have_had_its_effect_counts_as_there(
    tmp_path: Path, clock: HandClock, making: Making, timer: HandTimer
) -> None:
    migrate(tmp_path / "unsure.db", NOVEMBER)
    store = await Unsure.open(tmp_path / "unsure.db", clock, 10.0)
    quotas = quotas_of(store, timer, sessions=5)

    outcomes: list[Outcome] = []
    for _ in range(15):
        outcomes.append(await attempt(quotas, making.create()))
        timer.now += 0.5

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 5 + [QuotaExceededError] * 10
    assert (await store.measure_usage("demo")).sessions == 5
    await store.close()


async def test_what_had_no_effect_after_all_makes_room_once_that_is_certain(
    tmp_path: Path, clock: HandClock, making: Making, timer: HandTimer
) -> None:
    migrate(tmp_path / "unsure.db", NOVEMBER)
    store = await Unsure.open(tmp_path / "unsure.db", clock, 10.0)
    store.effective = False
    quotas = quotas_of(store, timer, sessions=3)
    assert count_of(StoreUnavailableError, await attempts(quotas, [making.create() for _ in range(5)])) == 3

    timer.now += UNKNOWN_SECONDS - 0.1
    assert isinstance(await attempt(quotas, making.create()), QuotaExceededError)
    timer.now += 1.1
    assert isinstance(await attempt(quotas, making.create()), StoreUnavailableError)
    await store.close()


async def test_a_deletion_around_a_measurement_is_counted_once(
    tmp_path: Path, clock: HandClock, making: Making, timer: HandTimer
) -> None:
    migrate(tmp_path / "slow.db", NOVEMBER)
    store = await SlowlyMeasured.open(tmp_path / "slow.db", clock, 10.0)
    quotas = quotas_of(store, timer, sessions=3)
    first, second, _ = [making.create() for _ in range(3)]
    await attempts(quotas, [first, second, making.create()])
    for gone in (first, second):
        # The measurement sees the deletion, and is told after the deletion was answered.
        timer.now += 5.0
        store.told.clear()
        store.measured.clear()
        assert isinstance(await attempt(quotas, delete(gone)), Deleted)
        refused_or_not = asyncio.ensure_future(attempt(quotas, making.create()))
        await store.measured.wait()
        store.told.set()
        await refused_or_not
        await measured()

    outcomes = await attempts(quotas, [making.create() for _ in range(10)])

    assert count_of(Created, outcomes) <= 1
    assert (await store.measure_usage("demo")).sessions == 3
    await store.close()


async def test_a_deletion_that_ends_after_a_measurement_that_saw_it_is_counted_once(
    tmp_path: Path, clock: HandClock, making: Making, timer: HandTimer
) -> None:
    migrate(tmp_path / "late.db", NOVEMBER)
    store = await LateAnswers.open(tmp_path / "late.db", clock, 10.0)
    quotas = quotas_of(store, timer, sessions=3)
    sessions = [making.create() for _ in range(3)]
    await attempts(quotas, sessions)
    store.told.clear()
    timer.now += 5.0
    creating = asyncio.ensure_future(attempt(quotas, making.create()))
    await store.begun.wait()
    deleting = asyncio.ensure_future(attempt(quotas, delete(sessions[0])))
    await store.applied.wait()
    store.go_on.set()
    await creating
    await measured()
    store.told.set()
    assert isinstance(await deleting, Deleted)

    await attempts(quotas, [making.create() for _ in range(10)])

    assert (await store.measure_usage("demo")).sessions == 3
    await store.close()


class LateAnswers(SqliteStore):
    """The store, which answers a deletion late, and begins to measure only once that deletion is there."""

    def __init__(self, path: Path, clock: HandClock, seconds_max: float) -> None:
        super().__init__(path, clock, seconds_max)
        self.begun, self.applied, self.go_on, self.told = (asyncio.Event() for _ in range(4))
        self.go_on.set()
        self.told.set()

    async def apply(self, command: Command) -> Outcome:
        outcome = await super().apply(command)
        if isinstance(outcome, Deleted):
            self.applied.set()
            await self.told.wait()
        return outcome

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        if not self.told.is_set():
            self.go_on.clear()
            self.begun.set()
            await self.go_on.wait()
        return await super().measure_usage(organisation, after, limit)


class InPages(SqliteStore):
    """The store, which counts three sessions at once, and often is too busy to."""

    failures = 0
    asked: ClassVar[list[str]] = []

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        self.asked.append(after)
        if self.failures:
            self.failures -= 1
            raise OverloadedError
        return await super().measure_usage(organisation, after, min(3, limit))


async def test_a_large_organisation_is_measured_in_pages_of_which_none_is_counted_twice(
    tmp_path: Path, clock: HandClock, making: Making, timer: HandTimer
) -> None:
    migrate(tmp_path / "large.db", NOVEMBER)
    store = await InPages.open(tmp_path / "large.db", clock, 10.0)
    await apply_all(store, [making.create() for _ in range(20)])
    store.asked.clear()
    store.failures = 2
    quotas = quotas_of(store, timer, sessions=22)

    outcomes = await attempts(quotas, [making.create() for _ in range(9)])

    assert count_of(Created, outcomes) == 2
    assert store.asked[:3] == [CURSOR_START] * 3, "a page that failed is asked for again"
    assert len(set(store.asked)) == 7
    await store.close()


async def test_while_a_first_measurement_takes_long_nothing_is_let_through_and_it_is_not_begun_again(
    tmp_path: Path, clock: HandClock, making: Making, timer: HandTimer
) -> None:
    migrate(tmp_path / "slow.db", NOVEMBER)
    store = await SlowlyMeasured.open(tmp_path / "slow.db", clock, 10.0)
    store.told.clear()
    quotas = quotas_of(store, timer, sessions=2)

    with pytest.raises(OverloadedError) as caught:
        await quotas.apply(making.create())

    assert "measured" in caught.value.reason
    assert (await SqliteStore.measure_usage(store, "demo")).sessions == 0
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(attempts(quotas, [making.create() for _ in range(5)]))
        await asyncio.sleep(0)
        assert len([task for task in asyncio.all_tasks() if task.get_name() == MEASURING]) == 1
        store.told.set()
    assert count_of(Created, waiting.result()) == 2
    await store.close()


async def test_what_the_store_had_no_room_for_takes_none(
    tmp_path: Path, clock: HandClock, making: Making, timer: HandTimer
) -> None:
    class Busy(SqliteStore):
        busy = True

        async def apply(self, command: Command) -> Outcome:
            if self.busy:
                raise OverloadedError
            return await super().apply(command)

    migrate(tmp_path / "busy.db", NOVEMBER)
    store = await Busy.open(tmp_path / "busy.db", clock, 10.0)
    quotas = quotas_of(store, timer, sessions=1)
    for _ in range(3):
        with pytest.raises(OverloadedError):
            await quotas.apply(making.create())
    store.busy = False

    assert isinstance(await attempt(quotas, making.create()), Created)
    await store.close()
