"""Connections to the file: for its owner only, and durable."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.migrate import read_migrations
from sessionary.server.store.opening import open_store
from sessionary.server.store.sqlite.connections import close, connect
from sessionary.server.store.sqlite.migrations import migrate, pending
from tests.conformance.builders import START_TIME, ManualClock


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes_in(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


@pytest.mark.usefixtures("umask")
async def test_every_file_of_the_store_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    migrate(path, START_TIME)
    store = await open_store(f"sqlite:///{path}", ManualClock())
    await store.sweep(1)
    modes = modes_in(tmp_path)
    await store.close()
    assert modes == dict.fromkeys(["store.db", "store.db-wal", "store.db-shm", "store.db-lock"], 0o600)


def test_a_commit_is_on_the_disk_before_it_returns(tmp_path: Path) -> None:
    connection = connect(tmp_path / "store.db", busy_seconds=0)
    settings = {
        name: connection.execute(f"PRAGMA {name}").get
        for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "journal_size_limit", "trusted_schema")
    }
    close(connection)
    full = 2
    assert settings == {
        "journal_mode": "wal",
        "synchronous": full,
        "wal_autocheckpoint": 0,
        "journal_size_limit": 64 * 1024 * 1024,
        "trusted_schema": 0,
    }


@pytest.mark.parametrize("work", [lambda path: migrate(path, START_TIME), pending], ids=["migrate", "pending"])
def test_a_file_that_is_no_database_is_refused_with_an_explanation(tmp_path: Path, work: object) -> None:
    assert callable(work)
    file = tmp_path / "notes.txt"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(
        StoreUnavailableError, match=r"The database file .*notes\.txt cannot be used: file is not a database\."
    ):
        work(file)
    assert file.read_bytes() == b"no database" * 100


async def test_a_file_that_cannot_be_opened_is_refused_with_an_explanation(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "nowhere" / "store.db", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(StoreUnavailableError, match=rf"The database file .* cannot be used: {reason}"):
            await open_store(f"sqlite:///{path}", ManualClock())


async def test_a_file_that_was_not_migrated_is_refused(tmp_path: Path) -> None:
    connection = connect(tmp_path / "store.db", busy_seconds=0)
    close(connection)
    store = await open_store(f"sqlite:///{tmp_path}/store.db", ManualClock())
    with pytest.raises(StoreUnavailableError):
        await store.ready()
    await store.close()


def test_a_lock_of_another_migration_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    assert migrate(path, START_TIME) == [migration.name for migration in read_migrations("sqlite")]
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    assert pending(path) == [], "looking needs no lock"
    other.execute("ROLLBACK")
    other.close()
    assert migrate(path, START_TIME) == []


async def test_a_file_belongs_to_one_store_at_a_time(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path}/store.db", ManualClock()
    migrate(tmp_path / "store.db", START_TIME)
    store = await open_store(url, clock)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match=r"in use by another server \(this very process\)"):
            await open_store(url, clock)
    beside = await open_store(url, clock, shared=True)
    await beside.ready()
    await beside.close()
    await store.ready()
    await store.close()
    later = await open_store(url, clock)
    await later.close()


async def test_a_store_that_cannot_be_opened_holds_no_lock(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_bytes(b"no database" * 100)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="file is not a database"):
            await open_store(f"sqlite:///{file}", ManualClock())
    file.unlink()
    migrate(file, START_TIME)
    await (await open_store(f"sqlite:///{file}", ManualClock())).close()


@pytest.mark.parametrize("left", ["", "process 1 on elsewhere\n", "process x\n", "\0" * 500, "x" * 5000])
async def test_what_a_lock_file_says_is_only_for_the_message(tmp_path: Path, left: str) -> None:
    migrate(tmp_path / "store.db", START_TIME)
    (tmp_path / "store.db-lock").write_text(left)
    await (await open_store(f"sqlite:///{tmp_path}/store.db", ManualClock())).close()
