"""Quotas are exact within a process: no session or byte beyond the quota, and no refusal while there is room."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import pytest

from sessionary.errors import (
    InternalServerError,
    OverloadedError,
    QuotaExceededError,
    SessionaryError,
    SessionNotFoundError,
    StoreUnavailableError,
)
from sessionary.server.operations.limits import Limits, Quota
from sessionary.server.operations.quotas import MEASUREMENT_TASK_NAME, QuotaEnforcer
from sessionary.server.operations.usage_tracker import UNKNOWN_SECONDS
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
from tests.conformance.builders import (
    MINUTE,
    OTHER,
    START_TIME,
    CommandBuilder,
    ManualClock,
    apply_all,
    delete,
    extend,
    update,
    user,
)
from tests.unit.server.operations.test_rate_limiter import HandTimer

ALLOWED = 10

StoreType = TypeVar("StoreType", bound=SqliteStore)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> CommandBuilder:
    return CommandBuilder(clock)


@pytest.fixture
def timer() -> HandTimer:
    return HandTimer()


class OpenStore(Protocol):
    """Opens an empty store of a class, which is closed after the test."""

    async def __call__(self, kind: type[StoreType], /) -> StoreType: ...


@pytest.fixture
async def open_store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[OpenStore]:
    opened: list[SqliteStore] = []

    async def open_one(kind: type[StoreType], /) -> StoreType:
        migrate(tmp_path / "store.db", START_TIME)
        store = await kind.open(tmp_path / "store.db", clock, 10.0)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> SqliteStore:
    return await open_store(SqliteStore)


class SlowMeasurementStore(SqliteStore):
    """A store that can be paused between measuring and returning the result."""

    def __init__(self, path: Path, clock: ManualClock, seconds_max: float) -> None:
        super().__init__(path, clock, seconds_max)
        self.measured = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        usage = await super().measure_usage(organisation, after, limit)
        if not self.released.is_set():
            self.measured.set()
        await self.released.wait()
        return usage


def enforcer_with(store: SqliteStore, timer: HandTimer, remembered_max: int = 100, **given: int) -> QuotaEnforcer:
    return QuotaEnforcer(store, Limits(quota=Quota(**given)), timer, remembered_max)


async def try_apply(enforcer: QuotaEnforcer, command: Command) -> Outcome:
    """Apply a command; returns a QuotaExceededError instead of raising it."""
    try:
        return await enforcer.apply(command)
    except QuotaExceededError as refusal:
        return refusal


async def try_apply_all(enforcer: QuotaEnforcer, commands: list[Create]) -> list[Outcome]:
    """Apply commands concurrently."""
    return await asyncio.gather(*(try_apply(enforcer, command) for command in commands))


async def wait_until_measured() -> None:
    """Wait until no measurement is running."""
    while measuring := [task for task in asyncio.all_tasks() if task.get_name() == MEASUREMENT_TASK_NAME]:
        await asyncio.wait(measuring)


def count_type(kind: type, outcomes: list[Outcome]) -> int:
    return sum(type(outcome) is kind for outcome in outcomes)


async def test_concurrent_creates_stop_exactly_at_the_quota(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    for _ in range(3):
        await store.apply(build.create())
    enforcer = enforcer_with(store, timer, sessions=ALLOWED)

    outcomes = await try_apply_all(enforcer, [build.create() for _ in range(100)])

    assert count_type(Created, outcomes) == ALLOWED - 3
    assert count_type(QuotaExceededError, outcomes) == 100 - (ALLOWED - 3)
    assert (await store.measure_usage("demo")).sessions == ALLOWED


async def test_concurrent_appends_stop_exactly_at_the_quota_of_bytes(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    create = build.create(user("a" * 100))
    one = stored_size_of(create)
    enforcer = enforcer_with(store, timer, stored_bytes=ALLOWED * one)
    assert isinstance(await enforcer.apply(create), Created)

    outcomes = await asyncio.gather(
        *(try_apply(enforcer, update(create, user("a" * 100))) for _ in range(50)),
    )

    assert count_type(Updated, outcomes) == ALLOWED - 1
    assert (await store.measure_usage("demo")).stored_bytes == ALLOWED * one


async def test_a_change_that_adds_no_usage_is_never_refused(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    sessions = [build.create(user()) for _ in range(3)]
    await apply_all(store, sessions)
    enforcer = enforcer_with(store, timer, sessions=1, stored_bytes=1)

    assert isinstance(await try_apply(enforcer, build.create()), QuotaExceededError)
    assert isinstance(await try_apply(enforcer, update(sessions[0], user())), QuotaExceededError)
    assert isinstance(await try_apply(enforcer, update(sessions[0], metadata={"a": 1})), Updated)
    assert not isinstance(await try_apply(enforcer, extend(sessions[0])), Exception)
    assert isinstance(await try_apply(enforcer, delete(sessions[0])), Deleted)


async def test_a_deletion_makes_room_at_once(store: SqliteStore, build: CommandBuilder, timer: HandTimer) -> None:
    enforcer = enforcer_with(store, timer, sessions=1)
    for _ in range(20):
        session = build.create()
        assert isinstance(await try_apply(enforcer, session), Created)
        assert isinstance(await try_apply(enforcer, build.create()), QuotaExceededError)
        assert isinstance(await try_apply(enforcer, delete(session)), Deleted)


async def test_an_expired_session_makes_room_within_a_second(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer, clock: ManualClock
) -> None:
    enforcer = enforcer_with(store, timer, sessions=1)
    assert isinstance(await try_apply(enforcer, build.create(minutes=5)), Created)
    clock.move(5 * MINUTE)
    timer.now += 1.0

    assert isinstance(await try_apply(enforcer, build.create()), Created)
    assert isinstance(await try_apply(enforcer, build.create()), QuotaExceededError)


async def test_a_full_organisation_is_measured_at_most_once_a_second(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer, clock: ManualClock
) -> None:
    enforcer = enforcer_with(store, timer, sessions=1)
    await try_apply(enforcer, build.create(minutes=5))
    timer.now += 1.0
    assert isinstance(await try_apply(enforcer, build.create()), QuotaExceededError)
    clock.move(5 * MINUTE)
    timer.now += 0.9

    assert isinstance(await try_apply(enforcer, build.create()), QuotaExceededError)

    timer.now += 0.1
    assert isinstance(await try_apply(enforcer, build.create()), Created)


async def test_changes_by_other_servers_count_after_five_seconds(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    enforcer = enforcer_with(store, timer, sessions=ALLOWED)
    await try_apply(enforcer, build.create())
    await apply_all(store, [build.create() for _ in range(ALLOWED - 2)])
    timer.now += 5.0
    assert isinstance(await try_apply(enforcer, build.create()), Created)
    await wait_until_measured()

    assert isinstance(await try_apply(enforcer, build.create()), QuotaExceededError)


async def test_changes_during_a_measurement_count(
    open_store: OpenStore, build: CommandBuilder, timer: HandTimer
) -> None:
    store = await open_store(SlowMeasurementStore)
    enforcer = enforcer_with(store, timer, sessions=ALLOWED)
    await try_apply(enforcer, build.create())
    timer.now += 5.0
    store.released.clear()
    assert isinstance(await try_apply(enforcer, build.create()), Created)
    await store.measured.wait()
    assert count_type(Created, await try_apply_all(enforcer, [build.create() for _ in range(5)])) == 5

    store.released.set()
    await wait_until_measured()

    assert count_type(Created, await try_apply_all(enforcer, [build.create() for _ in range(20)])) == ALLOWED - 7
    assert (await store.measure_usage("demo")).sessions == ALLOWED


async def test_refused_and_replayed_commands_use_no_quota(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    enforcer = enforcer_with(store, timer, sessions=2, stored_bytes=10_000)
    idempotency_key = IdempotencyKey("ada", "key", b"print")
    for _ in range(30):
        outcome = await try_apply(enforcer, build.create(user("a" * 100), idempotency_key=idempotency_key))
        assert isinstance(outcome, Created)
        assert isinstance(await try_apply(enforcer, update(build.create(), user("a" * 1_000))), SessionNotFoundError)

    assert isinstance(await try_apply(enforcer, build.create(user("a" * 9_000))), Created)


async def test_a_repeated_idempotency_key_is_replayed_though_the_quota_is_full(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    enforcer = enforcer_with(store, timer, sessions=1, stored_bytes=1_000)
    create = build.create(user("a" * 800), idempotency_key=IdempotencyKey("ada", "begin", b"print"))
    first = await try_apply(enforcer, create)
    assert isinstance(first, Created)
    again = await try_apply(enforcer, build.create(user("a" * 800), idempotency_key=create.idempotency_key))
    assert isinstance(again, Created)
    assert (again.session_id, again.replayed) == (first.session_id, True)

    new_key = IdempotencyKey("ada", "other", b"print")
    assert isinstance(await try_apply(enforcer, build.create(idempotency_key=new_key)), QuotaExceededError)
    assert isinstance(
        await try_apply(enforcer, update(create, user("a" * 800), idempotency_key=new_key)), QuotaExceededError
    )
    missing = build.create()
    assert isinstance(
        await try_apply(enforcer, update(missing, user("a" * 800), idempotency_key=new_key)), QuotaExceededError
    )
    assert (await store.measure_usage("demo")).sessions == 1


async def test_a_cancelled_command_leaves_no_reservation(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    enforcer = enforcer_with(store, timer, sessions=ALLOWED)
    await try_apply(enforcer, build.create())
    for _ in range(50):
        task = asyncio.ensure_future(try_apply(enforcer, build.create()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
    left = ALLOWED - (await store.measure_usage("demo")).sessions
    # Until then a cancelled command counts as applied.
    timer.now += UNKNOWN_SECONDS + 1.0

    outcomes = await try_apply_all(enforcer, [build.create() for _ in range(30)])

    assert count_type(Created, outcomes) == left
    assert (await store.measure_usage("demo")).sessions == ALLOWED


async def test_each_organisation_has_its_own_quota_or_none(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    limits = Limits(quota=Quota(sessions=1), quotas={"free": Quota(), "demo": Quota(sessions=2)})
    enforcer = QuotaEnforcer(store, limits, timer)

    created = {
        organisation: count_type(
            Created, await try_apply_all(enforcer, [build.create(organisation=organisation) for _ in range(5)])
        )
        for organisation in ("demo", OTHER, "free")
    }

    assert created == {"demo": 2, OTHER: 1, "free": 5}


async def test_a_forgotten_organisation_is_measured_again(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    enforcer = enforcer_with(store, timer, remembered_max=2, sessions=1)
    names = [f"organisation-{number}" for number in range(10)]
    for name in names:
        assert isinstance(await try_apply(enforcer, build.create(organisation=name)), Created)

    for name in names:
        assert isinstance(await try_apply(enforcer, build.create(organisation=name)), QuotaExceededError)


async def test_without_a_measurement_nothing_is_allowed(
    store: SqliteStore, build: CommandBuilder, timer: HandTimer
) -> None:
    enforcer = enforcer_with(store, timer, sessions=1)
    await store.close()

    with pytest.raises(SessionaryError):
        await enforcer.apply(build.create())


class UnknownOutcomeStore(SqliteStore):
    """A store that reports every outcome as unknown; ``applies`` says whether it applies commands nevertheless."""

    applies = True
    error: type[SessionaryError] = StoreUnavailableError

    async def apply(self, command: Command) -> Outcome:
        if self.applies:
            await super().apply(command)
        return self.error()


@pytest.mark.parametrize("error", [StoreUnavailableError, InternalServerError])
async def test_a_change_of_unknown_outcome_counts_as_applied(
    open_store: OpenStore, build: CommandBuilder, timer: HandTimer, error: type[SessionaryError]
) -> None:
    store = await open_store(UnknownOutcomeStore)
    store.error = error
    enforcer = enforcer_with(store, timer, sessions=5)

    outcomes: list[Outcome] = []
    for _ in range(15):
        outcomes.append(await try_apply(enforcer, build.create()))
        timer.now += 0.5

    assert [type(outcome) for outcome in outcomes] == [error] * 5 + [QuotaExceededError] * 10
    assert (await store.measure_usage("demo")).sessions == 5


async def test_a_change_of_unknown_outcome_that_was_not_applied_makes_room_after_a_while(
    open_store: OpenStore, build: CommandBuilder, timer: HandTimer
) -> None:
    store = await open_store(UnknownOutcomeStore)
    store.applies = False
    enforcer = enforcer_with(store, timer, sessions=3)
    assert count_type(StoreUnavailableError, await try_apply_all(enforcer, [build.create() for _ in range(5)])) == 3

    timer.now += UNKNOWN_SECONDS - 0.1
    assert isinstance(await try_apply(enforcer, build.create()), QuotaExceededError)
    timer.now += 1.1
    assert isinstance(await try_apply(enforcer, build.create()), StoreUnavailableError)


async def test_a_deletion_during_a_measurement_is_counted_once(
    open_store: OpenStore, build: CommandBuilder, timer: HandTimer
) -> None:
    store = await open_store(SlowMeasurementStore)
    enforcer = enforcer_with(store, timer, sessions=3)
    first, second, _ = [build.create() for _ in range(3)]
    await try_apply_all(enforcer, [first, second, build.create()])
    for deleted in (first, second):
        # The measurement includes the deletion, and ends after the deletion.
        timer.now += 5.0
        store.released.clear()
        store.measured.clear()
        assert isinstance(await try_apply(enforcer, delete(deleted)), Deleted)
        creating = asyncio.ensure_future(try_apply(enforcer, build.create()))
        await store.measured.wait()
        store.released.set()
        await creating
        await wait_until_measured()

    outcomes = await try_apply_all(enforcer, [build.create() for _ in range(10)])

    assert count_type(Created, outcomes) <= 1
    assert (await store.measure_usage("demo")).sessions == 3


async def test_a_deletion_that_ends_after_a_measurement_is_counted_once(
    open_store: OpenStore, build: CommandBuilder, timer: HandTimer
) -> None:
    store = await open_store(LateDeletionStore)
    enforcer = enforcer_with(store, timer, sessions=3)
    sessions = [build.create() for _ in range(3)]
    await try_apply_all(enforcer, sessions)
    store.released.clear()
    timer.now += 5.0
    creating = asyncio.ensure_future(try_apply(enforcer, build.create()))
    await store.started.wait()
    deleting = asyncio.ensure_future(try_apply(enforcer, delete(sessions[0])))
    await store.applied.wait()
    store.resumed.set()
    await creating
    await wait_until_measured()
    store.released.set()
    assert isinstance(await deleting, Deleted)

    await try_apply_all(enforcer, [build.create() for _ in range(10)])

    assert (await store.measure_usage("demo")).sessions == 3


class LateDeletionStore(SqliteStore):
    """A store that returns from a deletion late, and that measures only after the deletion was applied."""

    def __init__(self, path: Path, clock: ManualClock, seconds_max: float) -> None:
        super().__init__(path, clock, seconds_max)
        self.started, self.applied, self.resumed, self.released = (asyncio.Event() for _ in range(4))
        self.resumed.set()
        self.released.set()

    async def apply(self, command: Command) -> Outcome:
        outcome = await super().apply(command)
        if isinstance(outcome, Deleted):
            self.applied.set()
            await self.released.wait()
        return outcome

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        if not self.released.is_set():
            self.resumed.clear()
            self.started.set()
            await self.resumed.wait()
        return await super().measure_usage(organisation, after, limit)


class PagedStore(SqliteStore):
    """A store that measures pages of three sessions, and fails ``failures`` times before that."""

    failures = 0
    requested: ClassVar[list[str]] = []

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        self.requested.append(after)
        if self.failures:
            self.failures -= 1
            raise OverloadedError
        return await super().measure_usage(organisation, after, min(3, limit))


async def test_pages_of_a_measurement_are_retried_and_none_is_counted_twice(
    open_store: OpenStore, build: CommandBuilder, timer: HandTimer
) -> None:
    store = await open_store(PagedStore)
    await apply_all(store, [build.create() for _ in range(20)])
    store.requested.clear()
    store.failures = 2
    enforcer = enforcer_with(store, timer, sessions=22)

    outcomes = await try_apply_all(enforcer, [build.create() for _ in range(9)])

    assert count_type(Created, outcomes) == 2
    assert store.requested[:3] == [CURSOR_START] * 3, "a failed page is requested again"
    assert len(set(store.requested)) == 7


async def test_during_a_slow_first_measurement_nothing_is_allowed_and_no_second_one_starts(
    open_store: OpenStore, build: CommandBuilder, timer: HandTimer
) -> None:
    store = await open_store(SlowMeasurementStore)
    store.released.clear()
    enforcer = enforcer_with(store, timer, sessions=2)

    with pytest.raises(OverloadedError) as caught:
        await enforcer.apply(build.create())

    assert "measured" in caught.value.reason
    assert (await SqliteStore.measure_usage(store, "demo")).sessions == 0
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(try_apply_all(enforcer, [build.create() for _ in range(5)]))
        await asyncio.sleep(0)
        assert len([task for task in asyncio.all_tasks() if task.get_name() == MEASUREMENT_TASK_NAME]) == 1
        store.released.set()
    assert count_type(Created, waiting.result()) == 2


async def test_a_command_that_the_store_refused_as_overloaded_uses_no_quota(
    open_store: OpenStore, build: CommandBuilder, timer: HandTimer
) -> None:
    class Busy(SqliteStore):
        busy = True

        async def apply(self, command: Command) -> Outcome:
            if self.busy:
                raise OverloadedError
            return await super().apply(command)

    store = await open_store(Busy)
    enforcer = enforcer_with(store, timer, sessions=1)
    for _ in range(3):
        with pytest.raises(OverloadedError):
            await enforcer.apply(build.create())
    store.busy = False

    assert isinstance(await try_apply(enforcer, build.create()), Created)
