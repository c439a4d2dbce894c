"""Disks that are slow, full or broken, by a file system of our own under SQLite: the store says so, and recovers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from sessionary.errors import (
    SessionaryError,
    SessionNotFoundError,
    StoreUnavailableError,
    TokenNotFoundError,
    UnavailableError,
)
from sessionary.server.store.base import Created, Updated
from sessionary.server.store.sqlite.migrations import migrate
from sessionary.server.store.sqlite.store import SqliteStore
from tests.conformance.builders import (
    START_TIME,
    CommandBuilder,
    ManualClock,
    contents_of,
    create_session,
    delete,
    key,
    list_query,
    listed,
    read,
    update,
    user,
)

SECONDS_MAX = 1.0


class Disk(apsw.VFS):
    """The machine's file system, with troubles: seconds that a sync takes, and errors that calls end with."""

    NAME = "sessionary-troubled"

    def __init__(self) -> None:
        self.sync_seconds = 0.0
        self.sync_error: type[apsw.Error] | None = None
        self.write_error: type[apsw.Error] | None = None
        self.read_error: type[apsw.Error] | None = None
        self.base = apsw.vfs_names()[0]
        super().__init__(self.NAME, self.base, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        """Open a file that may get into trouble."""
        return File(self, name, flags)


class File(apsw.VFSFile):
    """A file of a troubled disk."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        super().__init__(disk.base, name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Bring it to the disk."""
        _fail(self.disk.sync_error)
        time.sleep(self.disk.sync_seconds)
        super().xSync(flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write to it."""
        _fail(self.disk.write_error)
        super().xWrite(data, offset)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        """Read from it."""
        _fail(self.disk.read_error)
        return super().xRead(amount, offset)


def _fail(error: type[apsw.Error] | None) -> None:
    if error is not None:
        raise error("the disk is in trouble")


@pytest.fixture
def disk() -> Iterator[Disk]:
    before = apsw.vfs_names()[0]
    disk = Disk()
    yield disk
    disk.unregister()
    assert apsw.vfs_names()[0] == before


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> CommandBuilder:
    return CommandBuilder(clock)


@pytest.fixture
def path(tmp_path: Path, disk: Disk) -> Path:
    assert disk.NAME in apsw.vfs_names()
    file = tmp_path / "store.db"
    migrate(file, START_TIME)
    return file


@pytest.fixture
async def store(path: Path, clock: ManualClock, disk: Disk) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, clock, SECONDS_MAX)
    yield store
    disk.sync_seconds, disk.sync_error, disk.write_error, disk.read_error = 0.0, None, None, None
    await store.close()


async def test_a_slow_disk_delays_no_request_beyond_its_timeout(
    store: SqliteStore, build: CommandBuilder, disk: Disk
) -> None:
    session = await create_session(store, build.create(user("before")))
    disk.sync_seconds = 2.5
    started = time.monotonic()

    commands = [build.create() for _ in range(20)]
    results = asyncio.gather(*(store.apply(command) for command in commands), return_exceptions=True)
    await asyncio.sleep(0.1)
    assert contents_of(await store.fetch("demo", session.session_id)) == ["before"], "readers go on"
    late = asyncio.gather(*(store.apply(build.create()) for _ in range(5)), return_exceptions=True)

    assert all(map(_is_unavailable, await results))
    assert all(map(_is_unavailable, await late))
    assert time.monotonic() - started < SECONDS_MAX + 0.5

    disk.sync_seconds = 0.0
    async with asyncio.timeout(10):
        while not isinstance(await store.apply(update(session, user("after"))), Updated):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    kept = await listed(store, list_query())
    assert len(kept) == len(set(kept)), "what was not confirmed may be there, but once"
    assert set(kept) >= {session.session_id}


TROUBLES = {
    "a sync that fails": ("sync_error", apsw.IOError),
    "a write that fails": ("write_error", apsw.IOError),
    "a disk that is full": ("write_error", apsw.FullError),
}


@pytest.mark.parametrize(("trouble", "error"), TROUBLES.values(), ids=TROUBLES)
async def test_a_disk_that_refuses_refuses_commands_whole(
    store: SqliteStore, build: CommandBuilder, disk: Disk, trouble: str, error: type[apsw.Error]
) -> None:
    session = await create_session(store, build.create(user("before")))
    setattr(disk, trouble, error)
    writings: dict[str, Callable[[], Awaitable[object]]] = {
        "create": lambda: store.apply(build.create()),
        "update": lambda: store.apply(update(session, user("lost"))),
        "delete": lambda: store.apply(delete(session)),
        "create_token": lambda: store.create_token(build.token("t")),
    }
    for name, writing in writings.items():
        (result,) = await asyncio.gather(writing(), return_exceptions=True)
        assert _is_unavailable(result), name

    setattr(disk, trouble, None)
    assert contents_of(await store.fetch("demo", session.session_id)) == ["before"]
    assert (await read(store, session)).version == 1
    assert await listed(store, list_query()) == [session.session_id]
    assert await store.find_token("t") is None
    assert isinstance(await store.apply(build.create()), Created)


async def test_a_full_disk_is_reported_as_such(store: SqliteStore, build: CommandBuilder, disk: Disk) -> None:
    disk.write_error = apsw.FullError
    outcome = await store.apply(build.create())
    assert isinstance(outcome, StoreUnavailableError)
    assert outcome.detail == "The disk is full."


async def test_a_store_whose_disk_was_full_is_ready_again_once_there_is_room(
    store: SqliteStore, build: CommandBuilder, disk: Disk
) -> None:
    disk.write_error = apsw.FullError
    await store.apply(build.create())
    disk.write_error = None
    # The machine's own disk has room: what was full is no more.
    await store.ready()


async def test_a_store_whose_write_failed_is_not_ready_until_one_succeeds(
    store: SqliteStore, build: CommandBuilder, disk: Disk
) -> None:
    await store.ready()
    disk.sync_error = apsw.IOError
    await store.apply(build.create())
    with pytest.raises(StoreUnavailableError) as refusal:
        await store.ready()
    assert refusal.value.reason.startswith("SQLite: ")
    disk.sync_error = None
    async with asyncio.timeout(10):
        while any(await asyncio.gather(store.ready(), return_exceptions=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    disk.write_error = apsw.FullError
    await store.apply(build.create())
    with pytest.raises(StoreUnavailableError, match=r"The disk is full\."):
        await store.ready()
    disk.write_error = None
    await create_session(store, build.create())
    await store.ready()


async def sweep(store: SqliteStore) -> None:
    await store.sweep(10)


async def note_no_uses(store: SqliteStore) -> None:
    await store.note_token_uses({})


async def note_uses_of_no_token(store: SqliteStore) -> None:
    await store.note_token_uses({"absent": START_TIME})


async def refuse_commands(store: SqliteStore) -> None:
    outcome = await store.apply(delete(CommandBuilder(ManualClock()).create()))
    assert isinstance(outcome, SessionNotFoundError)


async def revoke_no_token(store: SqliteStore) -> None:
    with pytest.raises(TokenNotFoundError):
        await store.revoke_token("absent")


@pytest.mark.parametrize(
    "work",
    [sweep, note_no_uses, note_uses_of_no_token, refuse_commands, revoke_no_token],
    ids=lambda work: work.__name__,
)
async def test_work_that_found_nothing_to_write_does_not_prove_that_a_write_would_succeed(
    store: SqliteStore, build: CommandBuilder, disk: Disk, work: Callable[[SqliteStore], Awaitable[None]]
) -> None:
    disk.write_error = apsw.FullError
    assert isinstance(await store.apply(build.create()), StoreUnavailableError)
    await work(store)
    with pytest.raises(StoreUnavailableError):
        await store.ready()
    disk.write_error = None
    await create_session(store, build.create())
    await store.ready()


async def test_a_replayed_outcome_does_not_prove_that_a_write_would_succeed(
    store: SqliteStore, build: CommandBuilder, disk: Disk
) -> None:
    create = build.create(idempotency_key=key("one"))
    first = await store.apply(create)
    disk.write_error = apsw.FullError
    assert isinstance(await store.apply(build.create()), StoreUnavailableError)
    again = await store.apply(create)
    assert isinstance(first, Created)
    assert again == msgspec.structs.replace(first, replayed=True)
    with pytest.raises(StoreUnavailableError):
        await store.ready()


async def test_a_file_that_cannot_be_read_is_reported_as_unavailable(
    path: Path, clock: ManualClock, build: CommandBuilder, disk: Disk
) -> None:
    first = await SqliteStore.open(path, clock, SECONDS_MAX)
    session = await create_session(first, build.create(user("before")))
    await first.close()
    store = await SqliteStore.open(path, clock, SECONDS_MAX)  # nothing is in its memory yet

    disk.read_error = apsw.IOError
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "fetch": lambda: store.fetch("demo", session.session_id),
        "list": lambda: store.list_sessions(list_query()),
        "list, sifted": lambda: store.list_sessions(list_query(status="active")),
        "find_token": lambda: store.find_token("t"),
        "list_tokens": lambda: store.list_tokens(1),
        "update": lambda: store.apply(update(session, user("lost"))),
        "sweep": lambda: store.sweep(1),
    }
    for name, reading in reads.items():
        (result,) = await asyncio.gather(reading(), return_exceptions=True)
        assert _is_unavailable(result), name

    disk.read_error = None
    assert contents_of(await store.fetch("demo", session.session_id)) == ["before"]
    await store.close()


def _is_unavailable(result: object) -> bool:
    outcome = result[0] if isinstance(result, list) else result
    return isinstance(outcome, UnavailableError) and isinstance(outcome, SessionaryError)
