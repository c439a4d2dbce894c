"""Quotas are exact within a process: never one session or byte too many, and never one refused that has room."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sessionary.errors import QuotaExceeded, SessionaryError, SessionNotFound
from sessionary.operations.allowances import Allowances, Quota
from sessionary.operations.quotas import Quotas
from sessionary.store.base import Command, Create, Created, Deleted, Once, Outcome, Updated, Usage, stored_size_of
from sessionary.store.sqlite.migrations import migrate
from sessionary.store.sqlite.store import SqliteStore
from tests.conformance.making import MINUTE, NOVEMBER, OTHER, HandClock, Making, delete, extend, update, user
from tests.unit.test_rates import HandTimer

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

    async def measure_usage(self, organisation: str) -> Usage:
        usage = await super().measure_usage(organisation)
        if not self.told.is_set():
            self.measured.set()
        await self.told.wait()
        return usage


def quotas_of(store: SqliteStore, timer: HandTimer, remembered_max: int = 100, **given: int) -> Quotas:
    return Quotas(store, Allowances(quota=Quota(**given)), timer, remembered_max)


async def attempt(quotas: Quotas, command: Command) -> Outcome:
    """Apply a command; a refusal is an answer."""
    try:
        return await quotas.apply(command)
    except QuotaExceeded as refusal:
        return refusal


async def attempts(quotas: Quotas, commands: list[Create]) -> list[Outcome]:
    """Apply commands all at once."""
    return await asyncio.gather(*(attempt(quotas, command) for command in commands))


def count_of(kind: type, outcomes: list[Outcome]) -> int:
    return sum(type(outcome) is kind for outcome in outcomes)


async def test_exactly_as_many_sessions_begin_as_are_allowed_however_many_come_at_once(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    for _ in range(3):
        await store.apply([making.create()])
    quotas = quotas_of(store, timer, sessions=ALLOWED)

    outcomes = await attempts(quotas, [making.create() for _ in range(100)])

    assert count_of(Created, outcomes) == ALLOWED - 3
    assert count_of(QuotaExceeded, outcomes) == 100 - (ALLOWED - 3)
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
    await store.apply(sessions)
    quotas = quotas_of(store, timer, sessions=1, stored_bytes=1)

    assert isinstance(await attempt(quotas, making.create()), QuotaExceeded)
    assert isinstance(await attempt(quotas, update(sessions[0], user())), QuotaExceeded)
    assert isinstance(await attempt(quotas, update(sessions[0], metadata={"a": 1})), Updated)
    assert not isinstance(await attempt(quotas, extend(sessions[0])), Exception)
    assert isinstance(await attempt(quotas, delete(sessions[0])), Deleted)


async def test_a_deletion_makes_room_at_once(store: SqliteStore, making: Making, timer: HandTimer) -> None:
    quotas = quotas_of(store, timer, sessions=1)
    for _ in range(20):
        session = making.create()
        assert isinstance(await attempt(quotas, session), Created)
        assert isinstance(await attempt(quotas, making.create()), QuotaExceeded)
        assert isinstance(await attempt(quotas, delete(session)), Deleted)


async def test_expiry_makes_room_within_a_second(
    store: SqliteStore, making: Making, timer: HandTimer, clock: HandClock
) -> None:
    quotas = quotas_of(store, timer, sessions=1)
    assert isinstance(await attempt(quotas, making.create(minutes=5)), Created)
    clock.move(5 * MINUTE)
    timer.now += 1.0

    assert isinstance(await attempt(quotas, making.create()), Created)
    assert isinstance(await attempt(quotas, making.create()), QuotaExceeded)


async def test_the_full_are_measured_at_most_once_a_second(
    store: SqliteStore, making: Making, timer: HandTimer, clock: HandClock
) -> None:
    quotas = quotas_of(store, timer, sessions=1)
    await attempt(quotas, making.create(minutes=5))
    timer.now += 1.0
    assert isinstance(await attempt(quotas, making.create()), QuotaExceeded)
    clock.move(5 * MINUTE)
    timer.now += 0.9

    assert isinstance(await attempt(quotas, making.create()), QuotaExceeded)

    timer.now += 0.1
    assert isinstance(await attempt(quotas, making.create()), Created)


async def test_what_other_servers_do_is_seen_after_five_seconds(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    quotas = quotas_of(store, timer, sessions=ALLOWED)
    await attempt(quotas, making.create())
    await store.apply([making.create() for _ in range(ALLOWED - 2)])
    timer.now += 5.0
    assert isinstance(await attempt(quotas, making.create()), Created)
    # The measurement that this set off is through when one that came later is.
    assert (await store.measure_usage("demo")).sessions == ALLOWED

    assert isinstance(await attempt(quotas, making.create()), QuotaExceeded)


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
    await asyncio.sleep(0)

    assert count_of(Created, await attempts(quotas, [making.create() for _ in range(20)])) == ALLOWED - 7
    assert (await store.measure_usage("demo")).sessions == ALLOWED
    await store.close()


async def test_refused_and_repeated_commands_take_no_room(store: SqliteStore, making: Making, timer: HandTimer) -> None:
    quotas = quotas_of(store, timer, sessions=2, stored_bytes=10_000)
    once = Once("ada", "key", b"print")
    for _ in range(30):
        outcome = await attempt(quotas, making.create(user("a" * 100), once=once))
        assert isinstance(outcome, Created)
        assert isinstance(await attempt(quotas, update(making.create(), user("a" * 1_000))), SessionNotFound)

    assert isinstance(await attempt(quotas, making.create(user("a" * 9_000))), Created)


async def test_a_repetition_gets_its_answer_also_where_there_is_no_room_left(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    quotas = quotas_of(store, timer, sessions=1, stored_bytes=1_000)
    beginning = making.create(user("a" * 800), once=Once("ada", "begin", b"print"))
    first = await attempt(quotas, beginning)
    assert isinstance(first, Created)
    again = await attempt(quotas, making.create(user("a" * 800), once=beginning.once))
    assert isinstance(again, Created)
    assert (again.session_id, again.replayed) == (first.session_id, True)

    unheard = Once("ada", "other", b"print")
    assert isinstance(await attempt(quotas, making.create(once=unheard)), QuotaExceeded)
    assert isinstance(await attempt(quotas, update(beginning, user("a" * 800), once=unheard)), QuotaExceeded)
    missing = making.create()
    assert isinstance(await attempt(quotas, update(missing, user("a" * 800), once=unheard)), QuotaExceeded)
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
    timer.now += 1.0

    outcomes = await attempts(quotas, [making.create() for _ in range(30)])

    assert count_of(Created, outcomes) == left
    assert (await store.measure_usage("demo")).sessions == ALLOWED


async def test_organisations_are_counted_apart_and_some_not_at_all(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    allowances = Allowances(quota=Quota(sessions=1), quotas={"free": Quota(), "demo": Quota(sessions=2)})
    quotas = Quotas(store, allowances, timer)

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
        assert isinstance(await attempt(quotas, making.create(organisation=name)), QuotaExceeded)


async def test_without_a_measurement_nothing_is_let_through(
    store: SqliteStore, making: Making, timer: HandTimer
) -> None:
    quotas = quotas_of(store, timer, sessions=1)
    await store.close()

    with pytest.raises(SessionaryError):
        await quotas.apply(making.create())
