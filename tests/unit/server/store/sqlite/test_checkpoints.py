"""What was removed is gone from the disk: zeros in the file, and no log that remembers it."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from sessionary.server.store.base import Create
from sessionary.server.store.sqlite.migrations import migrate
from sessionary.server.store.sqlite.store import SqliteStore
from tests.conformance.builders import (
    MINUTE,
    START_TIME,
    CommandBuilder,
    ManualClock,
    apply_all,
    contents_of,
    delete,
    list_query,
    listed,
    sweep_all,
    update,
    user,
)

CANARY = "kanarienvogel"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> CommandBuilder:
    return CommandBuilder(clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    migrate(path, START_TIME)
    return path


@pytest.fixture
async def store(path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, clock, 5.0)
    yield store
    await store.close()


def files_that_remember(path: Path) -> list[str]:
    """Name the files in which the canary stands; another process looks, for one that closes a file drops its locks."""
    found = subprocess.run(["grep", "-rlF", CANARY, path.parent], capture_output=True, text=True, check=False)
    return sorted(Path(line).name for line in found.stdout.splitlines())


async def until_forgotten(path: Path) -> None:
    """Wait for the checkpoint that follows a sweep."""
    for _ in range(50):
        if not files_that_remember(path):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{CANARY} still stands in {files_that_remember(path)}")


async def until_the_log_is_empty(store: SqliteStore, path: Path, build: CommandBuilder) -> None:
    """Sweep, and wait for what follows: at first a store does not know what the log holds."""
    await store.apply(build.create(user("something in the log")))
    assert path.with_name("store.db-wal").stat().st_size
    await store.sweep(100)
    async with asyncio.timeout(30):
        while path.with_name("store.db-wal").stat().st_size:  # noqa: ASYNC110 - another thread's work has no event
            await asyncio.sleep(0.05)


def copied(path: Path, directory: Path) -> Path:
    """Copy the file and its log as they are at this moment."""
    directory.mkdir()
    subprocess.run(["cp", path, f"{path}-wal", directory], check=True)
    return directory / path.name


def secrets(build: CommandBuilder, count: int, minutes: int = 60) -> list[Create]:
    """Make sessions of every size: within a page, over several, and with the secret in each place."""
    return [
        build.create(
            *(user(CANARY * 10**power) for power in range(1 + number % 5)),
            user_id=f"{CANARY} {number}",
            session_group=CANARY,
            title=CANARY,
            model=CANARY,
            metadata={CANARY: [CANARY] * (1 + number * 7)},
            minutes=minutes,
        )
        for number in range(count)
    ]


async def test_what_was_deleted_is_gone_from_the_disk_after_a_sweep(
    store: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    kept = [build.create(user("harmless" * 100)) for _ in range(20)]
    gone = secrets(build, 20)
    for secret, harmless in zip(gone, kept, strict=True):
        await apply_all(store, [secret, harmless])
        await apply_all(store, [update(secret, user(CANARY * 50)), update(harmless, user("more"))])
    assert "store.db-wal" in files_that_remember(path)

    await apply_all(store, [delete(secret) for secret in gone])
    await store.sweep(100)

    await until_forgotten(path)
    assert {tuple(contents_of(await store.fetch("demo", each.session_id))) for each in kept} == {
        ("harmless" * 100, "more")
    }


async def test_what_expired_is_gone_from_the_disk_after_a_sweep(
    store: SqliteStore, path: Path, build: CommandBuilder, clock: ManualClock
) -> None:
    await apply_all(store, [*secrets(build, 20, minutes=5), build.create(user("harmless"), minutes=60)])
    await store.sweep(100)
    clock.move(5 * MINUTE)
    assert files_that_remember(path) != []

    assert await sweep_all(store, 7) == 20

    await until_forgotten(path)
    assert len(await listed(store, list_query())) == 1


async def test_metadata_that_was_replaced_is_gone_from_the_disk_after_a_sweep(
    store: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    sessions = [build.create(user("harmless"), metadata={"a": CANARY, "b": [CANARY] * size}) for size in (1, 50, 900)]
    await apply_all(store, sessions)
    await apply_all(store, [update(session, metadata={"a": None, "b": "harmless"}) for session in sessions])

    await store.sweep(100)

    await until_forgotten(path)


REPLACED: dict[str, dict[str, str]] = {
    "a title": {"title": CANARY},
    "a model": {"model": CANARY},
    "both": {"title": CANARY, "model": CANARY},
}


@pytest.mark.parametrize("before", REPLACED.values(), ids=REPLACED)
async def test_a_title_and_a_model_that_were_replaced_are_gone_from_the_disk_after_a_sweep(
    store: SqliteStore, path: Path, build: CommandBuilder, before: dict[str, str]
) -> None:
    title, model = before.get("title"), before.get("model")
    sessions = [
        build.create(user("harmless"), metadata={"a": "b" * size}, title=title, model=model) for size in (1, 900, 9000)
    ]
    await until_the_log_is_empty(store, path, build)
    await apply_all(store, sessions)
    after = dict.fromkeys(before, "harmless")
    await apply_all(
        store, [update(session, title=after.get("title"), model=after.get("model")) for session in sessions]
    )
    assert files_that_remember(path) != []

    await store.sweep(100)

    await until_forgotten(path)


async def test_a_reader_in_the_way_of_forgetting_only_delays_it(
    store: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    (secret,) = secrets(build, 1)
    await store.apply(secret)
    backup = apsw.Connection(str(path))
    backup.execute("BEGIN")
    backup.execute("SELECT count(*) FROM sessions").fetchall()
    await store.apply(delete(secret))
    await store.sweep(100)
    await asyncio.sleep(0.6)
    assert files_that_remember(path) != [], "what a reader sees must not be taken from it"
    started = time.monotonic()
    await store.apply(build.create(user("harmless")))
    assert time.monotonic() - started < 0.5, "nor does the reader hold up those who write"
    backup.close()

    await store.sweep(100)

    await until_forgotten(path)


async def test_what_a_killed_process_removed_is_forgotten_by_the_next(
    store: SqliteStore, path: Path, build: CommandBuilder, tmp_path: Path
) -> None:
    (secret,) = secrets(build, 1)
    await store.apply(secret)
    await asyncio.sleep(0.5)
    await store.apply(delete(secret))
    # What kill -9 leaves: the files as they are.
    left = copied(path, tmp_path / "left")
    assert files_that_remember(left) != []

    other = await SqliteStore.open(left, build.clock, 5.0)
    await other.sweep(100)

    await until_forgotten(left)
    await other.close()
