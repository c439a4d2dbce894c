"""What the tests of the PostgreSQL engine share: stores on a migrated database, and eyes for what it keeps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg

from sessionary.server.store.base import Clock, Create, Created
from sessionary.server.store.opening import migrate
from sessionary.server.store.postgres.store import PostgresStore
from tests.conformance.builders import START_TIME, CommandBuilder, ManualClock, apply_all
from tests.harness.waiting import Deadline


@contextlib.asynccontextmanager
async def opened(url: str, clock: Clock | None = None, seconds_max: float = 10.0) -> AsyncIterator[PostgresStore]:
    """Open a store on a database that is migrated if need be."""
    await migrate(url, START_TIME)
    store = await PostgresStore.open(url, clock or ManualClock(), seconds_max)
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect past the store."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def row_lock(url: str, session_id: str) -> AsyncIterator[None]:
    """FileLock a lock on a session past the store, as somebody at psql does."""
    async with connected(url) as connection, connection.transaction():
        await connection.execute("SELECT * FROM sessions WHERE id = $1 FOR UPDATE", session_id)
        yield


async def ask(url: str, question: str, *arguments: object) -> Any:
    """Ask the database for one value."""
    async with connected(url) as connection:
        return await connection.fetchval(question, *arguments)


async def begun(store: PostgresStore, build: CommandBuilder, count: int) -> list[Create]:
    """Begin sessions in one batch."""
    commands = [build.create() for _ in range(count)]
    assert all(isinstance(outcome, Created) for outcome in await apply_all(store, commands))
    return commands


async def eventually(question: Callable[[], Awaitable[object]], what: str, *, seconds: float = 10.0) -> None:
    """Ask until the answer is truthy; `what` names it when time runs out."""
    deadline = Deadline(seconds)
    while not await question():
        deadline.check(what)
        await asyncio.sleep(0.01)
