"""An acknowledged command survives the end of the process."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys

import pytest

from sessionary.server.store.base import Store
from tests.conformance.builders import (
    CommandBuilder,
    assistant,
    contents_of,
    create_session,
    list_query,
    listed,
    read,
    read_messages,
    update,
    user,
)
from tests.conformance.conftest import ENGINES, Reopen

# Creates sessions until it is killed, and prints an id once its command has been acknowledged.
WRITER = """
import asyncio, sys
from sessionary.server.store.opening import open_store
from tests.conformance.builders import CommandBuilder, ManualClock, user

async def write():
    clock = ManualClock()
    build = CommandBuilder(clock)
    store = await open_store(sys.argv[1], clock, 10.0)
    while True:
        session = build.create(user("hello"))
        await store.apply(session)
        print(session.session_id, flush=True)

asyncio.run(write())
"""


async def test_another_process_sees_what_was_acknowledged(store: Store, reopen: Reopen, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user("one"), title="Kept"))
    await store.apply(update(session, assistant("two"), metadata={"a": 1}))

    other = await reopen()

    assert await other.fetch(session.organisation, session.session_id) == await store.fetch(
        session.organisation, session.session_id
    )


async def test_what_was_acknowledged_is_there_after_closing(
    store: Store, reopen: Reopen, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(user("one")))
    await store.close()

    later = await reopen()

    assert [message["content"] for message in await read_messages(later, session)] == ["one"]
    assert (await read(later, session)).version == 1


@pytest.mark.parametrize("kind", ENGINES, indirect=True)
async def test_what_was_acknowledged_is_there_after_kill_9(url: str, reopen: Reopen) -> None:
    acknowledged = await asyncio.to_thread(_write_until_killed, url, 25)

    store = await reopen()

    kept = await listed(store, list_query())
    assert set(acknowledged) <= set(kept)
    assert len(kept) - len(acknowledged) <= 1, "at most the one command whose answer was cut off"
    for session_id in kept:
        assert contents_of(await store.fetch("demo", session_id)) == ["hello"]


def _write_until_killed(url: str, count: int) -> list[str]:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    acknowledged: list[str] = []
    with writer:
        assert writer.stdout is not None
        with contextlib.suppress(StopIteration):
            while len(acknowledged) < count:
                acknowledged.append(next(writer.stdout).strip())
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout]
    assert len(acknowledged) >= count
    return acknowledged
