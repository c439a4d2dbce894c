"""The store without HTTP: what the floor below could do if nothing stood on it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

import msgspec
import uvloop

from bench.contenders.base import Contender, Load, Sample
from bench.contenders.rows import Batch
from bench.contenders.workspace import ARCHIVE, Workspace
from bench.limits.timing import summary
from bench.processes import read_cpu
from bench.workloads.payload import TOKENS_PER_APPEND, turn
from bench.workloads.service import HEADLINE_CONNECTIONS
from sessionary.server.store.base import ListQuery, Store, Update
from sessionary.server.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from bench.contenders.databases import Database

ORGANISATION = "bench"
READ_ONLY = "read-only"
TURNS = 10
PAGE = 50
MILLISECOND_NS = 1_000_000
MICROSECONDS = 1_000_000


class StoreAlone(Contender):
    """As many tasks as connections, each applying one command after the other in this process."""

    engine: ClassVar[str]
    database: Database

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._written = Batch(ORGANISATION, workspace.scale.pool_sessions, TURNS)
        self._read = Batch(READ_ONLY, workspace.scale.pool_sessions, TURNS)
        self._loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._store: Store | None = None

    def start(self) -> None:
        self.database = self.workspace.database(self.engine)
        for batch in (self._written, self._read):
            self.database.load(batch)
        # Both batches hold the same ids: they are of different organisations.
        self._sessions = cycle([str(UUID(bytes=name)) for name in self._written.ids()])
        self._messages = tuple(msgspec.json.encode(message) for message in turn(0))

    def stop(self) -> None:
        self._close()
        self._loop.close()

    def is_scaled_to(self, connections: int) -> bool:
        return connections >= HEADLINE_CONNECTIONS

    def carries(self, workload: str) -> bool:
        return workload in {"append", "get", "list-user"}

    def prepare(self, workload: str) -> None:
        """Everything is there from the start."""

    def measure(self, load: Load) -> Sample:
        return self._loop.run(self._measure(load))

    def verify(self, workload: str) -> None:
        """The store's own tests do this."""

    def _close(self) -> None:
        if self._store is not None:
            self._loop.run(self._store.close())
            self._store = None

    async def _measure(self, load: Load) -> Sample:
        if self._store is None:
            self._store = await open_store(self.database.url, now)
        works = self._works(load.workload, self._store)
        latencies: list[float] = []
        before, cpu_before, started = read_cpu(self.database.pids), time.process_time(), time.perf_counter()
        deadline = started + load.seconds
        await asyncio.gather(*(_repeat(work, deadline, latencies) for work in islice(works, load.connections)))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_before
        database = read_cpu(self.database.pids).since(before)
        sample = summary(len(latencies), seconds, latencies, cpu)
        return replace(sample, database_cpu_us=database / len(latencies) * MICROSECONDS)

    def _works(self, workload: str, store: Store) -> Iterator[Callable[[], Awaitable[object]]]:
        makers = {"append": self._append, "get": self._get, "list-user": self._list}
        while True:
            yield makers[workload](store)

    def _append(self, store: Store) -> Callable[[], Awaitable[object]]:
        async def append() -> None:
            update = Update(
                organisation=ORGANISATION,
                session_id=next(self._sessions),
                messages=self._messages,
                tokens_used=TOKENS_PER_APPEND,
            )
            outcome = await store.apply(update)
            if isinstance(outcome, Exception):
                raise outcome

        return append

    def _get(self, store: Store) -> Callable[[], Awaitable[object]]:
        return lambda: store.fetch(READ_ONLY, next(self._sessions))

    def _list(self, store: Store) -> Callable[[], Awaitable[object]]:
        query = ListQuery(organisation=ARCHIVE, user_id="user-000001", limit=PAGE)
        return lambda: store.list_sessions(query)


class SqliteStoreAlone(StoreAlone):
    """The store on a SQLite file."""

    name = "store-sqlite"
    engine = "sqlite"


class PostgresStoreAlone(StoreAlone):
    """The store on PostgreSQL."""

    name = "store-postgres"
    engine = "postgres"


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // MILLISECOND_NS


async def _repeat(work: Callable[[], Awaitable[object]], deadline: float, latencies: list[float]) -> None:
    began = time.perf_counter()
    while began < deadline:
        await work()
        ended = time.perf_counter()
        latencies.append(ended - began)
        began = ended
