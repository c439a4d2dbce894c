"""A thread for blocking work: one piece at a time, and interrupted when nobody waits any more."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.sqlite.worker_thread import WorkerThread, translate_error

# Counts for minutes, unless it is interrupted.
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e12) SELECT count(*) FROM n"


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    return apsw.Connection(str(tmp_path / "work.db"))


@pytest.fixture
async def thread(connection: apsw.Connection) -> AsyncIterator[WorkerThread]:
    thread = WorkerThread("test", connection.interrupt)
    yield thread
    await thread.close()
    connection.close()


async def test_work_is_done_on_a_thread_of_its_own_and_returns_its_result(thread: WorkerThread) -> None:
    assert await thread.run(threading.get_ident) != threading.get_ident()
    assert await thread.run(lambda: 42) == 42


async def test_work_is_done_one_piece_at_a_time(thread: WorkerThread) -> None:
    running: list[int] = []
    most: list[int] = []

    def work(number: int) -> int:
        running.append(number)
        most.append(len(running))
        time.sleep(0.002)
        running.remove(number)
        return number

    assert await asyncio.gather(*(thread.run(partial(work, number)) for number in range(20))) == list(range(20))
    assert max(most) == 1


async def test_work_whose_time_is_up_is_interrupted_and_the_next_goes_on(
    thread: WorkerThread, connection: apsw.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await thread.run(lambda: connection.execute(ENDLESS).fetchall())

    assert await thread.run(lambda: connection.execute("SELECT 42").get) == 42
    assert time.monotonic() - started < 5
    assert caplog.messages == ["Work whose caller was cancelled ended with InterruptError."]


async def test_a_transaction_whose_time_is_up_leaves_nothing(thread: WorkerThread, connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE kept (n)")

    def work() -> None:
        with connection:
            connection.execute("INSERT INTO kept VALUES (1)")
            connection.execute(ENDLESS).fetchall()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await thread.run(work)

    assert await thread.run(lambda: connection.execute("SELECT count(*) FROM kept").get) == 0


async def test_work_that_is_cancelled_before_it_starts_does_not_affect_others(
    thread: WorkerThread, connection: apsw.Connection
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def first() -> str:
        begun.set()
        go_on.wait(5)
        return str(connection.execute("SELECT 'whole'").get)

    running = asyncio.create_task(thread.run(first))
    await asyncio.to_thread(begun.wait, 5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await thread.run(lambda: pytest.fail("its turn never came"))
    go_on.set()
    assert await running == "whole"


async def test_a_driver_error_is_general_for_the_caller_and_complete_in_the_log(
    thread: WorkerThread, connection: apsw.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreUnavailableError) as refusal:
        await thread.run(lambda: connection.execute("SELECT secrets FROM nowhere"))
    assert "nowhere" not in refusal.value.detail
    assert caplog.messages == ["SQLite refused: no such table: nowhere"]
    assert caplog.records[0].levelno == logging.WARNING


async def test_an_internal_error_is_not_translated(thread: WorkerThread) -> None:
    def work() -> None:
        raise KeyError("internal")

    with pytest.raises(KeyError):
        await thread.run(work)


def test_a_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "full.db"))
    connection.execute("PRAGMA max_page_count = 4")
    connection.execute("CREATE TABLE t (b)")
    with pytest.raises(apsw.FullError) as full:
        connection.execute("INSERT INTO t VALUES (randomblob(100000))")
    connection.close()
    assert translate_error(full.value).detail == "The disk is full."
