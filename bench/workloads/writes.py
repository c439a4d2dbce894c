"""The loads that write: create, append, extend."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from bench.workloads.base import Workload, shares
from bench.workloads.payload import turn
from bench.workloads.pool import LostWriteError, Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.load.connection import Request
    from bench.load.response_stats import ResponseStats
    from bench.workloads.service import Service

STARTING_MESSAGES = 20
DISTINCT_TURNS = 16
CREATED_CHECKED_MAX = 500


class Create(Workload):
    """Sessions that begin with one turn."""

    name = "create"
    keeps_bodies = True

    def prepare(self) -> None:
        dialect = self.service.dialect
        self._requests = [dialect.create(f"user-{n:04}", f"group-{n % 16:04}", turn(n)) for n in range(256)]
        self._created: list[str] = []

    def scripts(self, connections: int) -> list[Iterator[Request]]:
        return shares(self._requests, connections)

    def account(self, stats: ResponseStats) -> None:
        self._created.extend(self.service.dialect.session_of(body) for _, body in stats.bodies)

    def verify(self) -> None:
        if len(set(self._created)) != len(self._created):
            raise LostWriteError("two creates returned the same id")
        checked = self._created[:: max(1, len(self._created) // CREATED_CHECKED_MAX)]
        dialect = self.service.dialect
        responses = self.service.fetch([dialect.get(name) for name in checked])
        if any(dialect.stored(body).messages != len(turn(0)) for body in responses):
            raise LostWriteError("a created session lacks its first messages")


class Append(Workload):
    """One turn after the other, on sessions of their own for each connection."""

    name = "append"
    starting_messages = STARTING_MESSAGES

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.pool = Pool(service, self.starting_messages)

    def prepare(self) -> None:
        self.pool.fill(self.service.scale.pool_sessions)
        turns = [turn(number) for number in range(DISTINCT_TURNS)]
        self.requests = [
            self.service.dialect.append(name, turns[slot % DISTINCT_TURNS])
            for slot, name in enumerate(self.pool.sessions)
        ]

    def scripts(self, connections: int) -> list[Iterator[Request]]:
        return shares(self.requests, connections)

    def account(self, stats: ResponseStats) -> None:
        self.pool.appended += stats.acknowledged
        self.pool.uncertain += stats.uncertain

    def verify(self) -> None:
        self.pool.verify()


class AppendToOne(Append):
    """All connections on one session; a new one for every run, for a session cannot grow for ever."""

    name = "append-one"
    starting_messages = 0

    def prepare(self) -> None:
        self._seeds = count()
        self._pools: list[Pool] = []

    def scripts(self, connections: int) -> list[Iterator[Request]]:
        self.pool = Pool(self.service, self.starting_messages)
        self.pool.fill(self.sessions_for(connections))
        self._pools.append(self.pool)
        requests = [self.service.dialect.append(name, turn(next(self._seeds))) for name in self.pool.sessions]
        return shares(requests, connections)

    def verify(self) -> None:
        for pool in self._pools:
            pool.verify()

    def sessions_for(self, _connections: int) -> int:
        """How many sessions the connections share."""
        return 1


class AppendToEach(AppendToOne):
    """Every connection on one session of its own: what `append-one` is compared with."""

    name = "append-each"

    def sessions_for(self, connections: int) -> int:
        return connections


class Extend(Append):
    """Sessions that are given one minute more."""

    name = "extend"
    starting_messages = 0

    def prepare(self) -> None:
        self.pool.fill(self.service.scale.pool_sessions)
        self.requests = [self.service.dialect.extend(name) for name in self.pool.sessions]

    def account(self, stats: ResponseStats) -> None:
        self.pool.extended += stats.acknowledged
        self.pool.uncertain += stats.uncertain
