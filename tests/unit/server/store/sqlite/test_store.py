"""What only this engine can do wrong: locks of other processes, batches that the file refuses, sweeps that are large."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from sessionary.errors import SessionaryError, StoreUnavailableError
from sessionary.server.store.base import Create, Created
from sessionary.server.store.sqlite.migrations import migrate
from sessionary.server.store.sqlite.store import SqliteStore
from tests.conformance.builders import (
    DAY,
    START_TIME,
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_update,
    assistant,
    contents_of,
    create_session,
    delete,
    list_query,
    listed,
    read,
    update,
    user,
)

SECONDS_MAX = 1.0
MEBIBYTE = 1024 * 1024


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> CommandBuilder:
    return CommandBuilder(clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "store.db"
    migrate(file, START_TIME)
    return file


@pytest.fixture
async def store(path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, clock, SECONDS_MAX)
    yield store
    await store.close()


@pytest.fixture
async def patient(path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    """A store that refuses nothing because a machine's disk is busy."""
    store = await SqliteStore.open(path, clock, 60.0)
    yield store
    await store.close()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """FileLock the file's one write lock, as another program could."""
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close(True)  # noqa: FBT003 - apsw's own signature: force


def log_bytes(path: Path) -> int:
    return path.with_name("store.db-wal").stat().st_size


def changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns


async def refused(store: SqliteStore, *commands: Create) -> list[type[SessionaryError] | None]:
    return [
        type(outcome) if isinstance(outcome, SessionaryError) else None for outcome in await apply_all(store, commands)
    ]


async def test_another_programs_lock_is_waited_for_no_longer_than_a_request_may_take(
    store: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    before = await create_session(store, build.create(user("before")))
    with locked(path):
        started = time.monotonic()
        assert await refused(store, build.create()) == [StoreUnavailableError]
        assert 0.2 < time.monotonic() - started < SECONDS_MAX + 0.5
        assert contents_of(await store.fetch("demo", before.session_id)) == ["before"], "readers do not wait"
        assert await listed(store, list_query()) == [before.session_id]
        with pytest.raises(StoreUnavailableError) as refusal:
            await store.ready()
        assert "database is locked" in refusal.value.reason
        assert "locked" not in refusal.value.detail, "that is for the operator"
    assert await refused(store, build.create()) == [None]
    assert len(await listed(store, list_query())) == 2, "what was refused is not there"


async def test_a_lock_that_goes_away_in_time_is_only_a_delay(
    store: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    with locked(path):
        waiting = asyncio.create_task(refused(store, build.create()))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    assert await waiting == [None]


async def test_a_store_is_ready_only_if_a_write_would_succeed_though_none_was_tried(
    store: SqliteStore, path: Path
) -> None:
    with locked(path), pytest.raises(StoreUnavailableError):
        await store.ready()
    async with asyncio.timeout(10):
        while not await is_ready(store):  # noqa: ASYNC110 - what failed is not tried again at once
            await asyncio.sleep(0.05)


async def test_a_lock_that_goes_away_in_time_does_not_matter_to_readiness(path: Path, clock: ManualClock) -> None:
    store = await SqliteStore.open(path, clock, 240.0)
    with locked(path):
        checks = [asyncio.create_task(store.ready()) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in checks)
        checks[0].cancel()
    await asyncio.gather(*checks[1:])
    await store.close()


async def test_a_readiness_check_writes_nothing(patient: SqliteStore, path: Path, build: CommandBuilder) -> None:
    await create_session(patient, build.create())
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - the checkpoint after the write
            await asyncio.sleep(0.05)
    before = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(path.parent.iterdir())]
    for _ in range(30):
        await patient.ready()
    patient._write_check._succeeds_until = 0.0  # noqa: SLF001 - as after some seconds without a write
    await asyncio.gather(*(patient.ready() for _ in range(30)))
    after = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(path.parent.iterdir())]
    assert [each for each in after if "-shm" not in each[0]] == [each for each in before if "-shm" not in each[0]]


async def is_ready(store: SqliteStore) -> bool:
    try:
        await store.ready()
    except StoreUnavailableError:
        return False
    return True


async def test_a_lock_held_for_long_refuses_every_kind_of_writing(
    store: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create())
    writings: dict[str, Callable[[], Awaitable[object]]] = {
        "update": lambda: store.apply(update(session, user("lost"))),
        "delete": lambda: store.apply(delete(session)),
        "sweep": lambda: store.sweep(1),
        "create_token": lambda: store.create_token(build.token("t")),
        "revoke_token": lambda: store.revoke_token("t"),
    }
    with locked(path):
        results = await asyncio.gather(*(writing() for writing in writings.values()), return_exceptions=True)
    errors = [result[0] if isinstance(result, list) else result for result in results]
    assert [error.status for error in errors if isinstance(error, SessionaryError)] == [503] * len(writings)
    assert (await read(store, session)).version == 1


async def test_of_a_batch_that_the_file_refuses_only_the_culprit_fails(
    store: SqliteStore, build: CommandBuilder
) -> None:
    taken = await create_session(store, build.create(user("first")))
    twin = build.create(user("second"))
    twin = msgspec.structs.replace(twin, session_id=taken.session_id)
    others = [build.create(user(f"{number}")) for number in range(9)]

    outcomes = await apply_all(store, [*others[:4], twin, *others[4:]])

    assert isinstance(outcomes.pop(4), StoreUnavailableError)
    assert all(isinstance(outcome, Created) for outcome in outcomes)
    assert contents_of(await store.fetch("demo", taken.session_id)) == ["first"]
    assert len(await listed(store, list_query())) == 10


async def test_a_sweep_removes_a_bounded_number_of_bytes_at_a_time(
    patient: SqliteStore, clock: ManualClock, build: CommandBuilder
) -> None:
    large = "x" * (MEBIBYTE - 1000)
    for _ in range(5):
        session = await create_session(patient, build.create())
        for _ in range(10):
            await apply_update(patient, update(session, assistant(large)))
    clock.move(DAY)
    removed = []
    while True:
        swept = await patient.sweep(500)
        removed.append(swept.removed)
        if not swept.more:
            break
    assert sum(removed) == 5
    assert max(removed) == 3, "30 MiB"


async def test_the_log_stays_bounded_under_constant_load(
    patient: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    large, written, largest = "x" * (MEBIBYTE - 1000), 0, 0

    async def write() -> None:
        nonlocal written
        while written < 240:
            written += 1
            await create_session(patient, build.create(user(large)))

    writers = [asyncio.create_task(write()) for _ in range(6)]
    while not all(writer.done() for writer in writers):
        largest = max(largest, log_bytes(path))
        await asyncio.sleep(0.005)
    await asyncio.gather(*writers)

    assert 32 * MEBIBYTE < largest < 160 * MEBIBYTE
    async with asyncio.timeout(10):
        while log_bytes(path) > 64 * MEBIBYTE:
            await asyncio.sleep(0.3)  # to be copied while nobody writes
            await create_session(patient, build.create(user("which cuts the log")))


async def test_a_store_that_has_written_much_comes_to_rest_and_closes(
    path: Path, build: CommandBuilder, clock: ManualClock
) -> None:
    store = await SqliteStore.open(path, clock, 60.0)
    others = len(asyncio.all_tasks())
    large = "x" * (MEBIBYTE - 1000)
    for _ in range(6):
        session = await create_session(store, build.create())
        await asyncio.gather(*(store.apply(update(session, assistant(large))) for _ in range(15)))

    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > others:  # noqa: ASYNC110 - the end of a task of its own has no event
            await asyncio.sleep(0.05)
        await create_session(store, build.create())
        await store.close()
    assert path.with_name("store.db-wal").exists() is False


async def test_a_checkpoint_that_fails_is_logged_and_repeated_after_the_next_write(
    store: SqliteStore, build: CommandBuilder, caplog: pytest.LogCaptureFixture, path: Path
) -> None:
    caplog.set_level(logging.WARNING)
    held = store._checkpointer._connection  # noqa: SLF001 - the one way to make it fail for a while
    held.execute("BEGIN").fetchall()
    held.execute("SELECT count(*) FROM sessions").fetchall()
    before = changed_at(path)
    await create_session(store, build.create())
    async with asyncio.timeout(5):
        while len(caplog.messages) < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    assert caplog.messages == [
        "SQLite refused: database table is locked",
        "A checkpoint failed (StoreUnavailableError); the next write will ask for another.",
    ]
    assert changed_at(path) == before

    held.execute("COMMIT").fetchall()
    await create_session(store, build.create())
    async with asyncio.timeout(5):
        while changed_at(path) == before:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


async def test_closing_twice_is_closing_once(path: Path, clock: ManualClock) -> None:
    store = await SqliteStore.open(path, clock, SECONDS_MAX)
    await store.close()
    await store.close()


async def test_closing_finishes_what_was_accepted(path: Path, clock: ManualClock, build: CommandBuilder) -> None:
    store = await SqliteStore.open(path, clock, SECONDS_MAX)
    with locked(path):
        running = asyncio.create_task(store.apply(build.create()))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(store.apply(build.create())) for _ in range(50)]
        sweeping = asyncio.create_task(store.sweep(1))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
    await closing

    assert [type(outcome) for outcome in await asyncio.gather(running, *waiting)] == [Created] * 51
    assert (await sweeping).removed == 0
    later = await SqliteStore.open(path, clock, SECONDS_MAX)
    assert len(await listed(later, list_query())) == 51
    await later.close()


async def test_without_an_audit_record_nothing_is_deleted_made_or_revoked(
    store: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(user("hello")))
    await store.create_token(build.token("t1"))
    with contextlib.closing(apsw.Connection(str(path))) as other:
        other.execute("DROP TABLE audit")

    deeds: list[Callable[[], Awaitable[object]]] = [
        lambda: store.apply(delete(session)),
        lambda: store.create_token(build.token("t2")),
        lambda: store.revoke_token("t1"),
    ]
    for deed in deeds:
        (result,) = await asyncio.gather(deed(), return_exceptions=True)
        refusal = result[0] if isinstance(result, list) else result
        assert isinstance(refusal, SessionaryError)

    assert contents_of(await store.fetch("demo", session.session_id)) == ["hello"]
    assert await store.find_token("t2") is None
    kept = await store.find_token("t1")
    assert kept is not None
    assert kept.revoked_at is None


async def test_a_reader_that_stays_never_makes_a_write_wait_however_long_the_log_is(
    path: Path, build: CommandBuilder, clock: ManualClock
) -> None:
    """The reader goes only when the writes are through: one that waited for it would wait for longer than the test."""
    store = await SqliteStore.open(path, clock, 240.0)
    session = await create_session(store, build.create())
    backup = apsw.Connection(str(path))
    backup.execute("BEGIN")
    backup.execute("SELECT count(*) FROM sessions").fetchall()
    large = "x" * (MEBIBYTE - 1000)
    async with asyncio.timeout(50):
        while log_bytes(path) < 80 * MEBIBYTE:
            await create_session(store, build.create(user(large)))
        for number in range(20):
            await apply_update(store, update(session, user(f"{number}")))
            # Time for a checkpoint after each of some writes: the pause between two is 0.2 s.
            await asyncio.sleep(0.05)
    assert log_bytes(path) > 80 * MEBIBYTE, "what the reader sees is kept for it"
    backup.close()
    async with asyncio.timeout(30):
        while log_bytes(path) > 64 * MEBIBYTE:
            await create_session(store, build.create(user("which cuts the log")))
            await asyncio.sleep(0.1)
    assert len(contents_of(await store.fetch("demo", session.session_id))) == 20
    await store.close()
