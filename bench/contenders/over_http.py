"""A contender that is a server: loaded over HTTP, its processes watched."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, ClassVar

from bench.contenders.base import Contender, Load, Race, Sample
from bench.load.connection import Request
from bench.load.drive import Drive, drive
from bench.load.response_stats import ResponseStats
from bench.processes import CpuReading, machine_busy_seconds, read_cpu, resident_mib
from bench.workloads.catalogue import WORKLOADS
from bench.workloads.payload import MESSAGES_PER_APPEND, turn
from bench.workloads.pool import Pool

if TYPE_CHECKING:
    from bench.contenders.server import Server
    from bench.contenders.workspace import Workspace
    from bench.workloads.base import Workload
    from bench.workloads.service import Service

ANSWERS_PER_RUN_MAX = 500_000
RACE_SECONDS_MAX = 60
MILLISECONDS = 1000
MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU readings of everyone who takes part."""

    servers: CpuReading
    database: CpuReading
    machine_seconds: float


class HttpContender(Contender):
    """One or more server processes that speak a dialect of sessions over HTTP."""

    workloads: ClassVar[frozenset[str]] = frozenset(WORKLOADS)
    organisation: ClassVar[str] = "bench"
    archive_organisation: ClassVar[str] = "archive"

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.servers: list[Server] = []
        self.database_pids: list[int] = []
        self._prepared: dict[str, Workload] = {}
        self._has_archive = False

    @abstractmethod
    def service(self) -> Service:
        """Describe the running server to the workloads."""

    def load_archive(self) -> None:
        """Load the organisation with very many sessions into the store."""

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
        self.servers = []
        self._prepared = {}
        self._has_archive = False

    def is_scaled_to(self, connections: int) -> bool:  # noqa: ARG002 - to any
        return True

    def carries(self, workload: str) -> bool:
        return workload in self.workloads

    def prepare(self, workload: str) -> None:
        if workload in self._prepared:
            return
        made = WORKLOADS[workload](self.service())
        if made.needs_archive and not self._has_archive:
            self.load_archive()
            self._has_archive = True
        made.prepare()
        self._prepared[workload] = made

    def adopt(self, name: str, workload: Workload) -> None:
        """Take a prepared workload that is no one else's."""
        self._prepared[name] = workload

    def measure(self, load: Load) -> Sample:
        workload = self._prepared[load.workload]
        stats = ResponseStats(keep_bodies=workload.keeps_bodies, responses_max=ANSWERS_PER_RUN_MAX)
        scripts = workload.scripts(load.connections)
        before = self._costs()
        run = drive(workload.service.addresses, scripts, load.seconds, stats)
        sample = _sample(run, before, self._costs())
        workload.account(stats)
        return sample

    def verify(self, workload: str) -> None:
        made = self._prepared[workload]
        if made.service.is_real:
            made.verify()

    def race(self, writers: int, appends: int) -> Race | None:
        service = self.service()
        if not service.is_real:
            return None
        pool = Pool(service, 0)
        pool.fill(1)
        append = Request(service.dialect.append(pool.sessions[0], turn(0)), 0)
        stats = ResponseStats()
        drive(service.addresses, [repeat(append, appends) for _ in range(writers)], RACE_SECONDS_MAX, stats)
        return Race(
            acknowledged_messages=stats.acknowledged[0] * MESSAGES_PER_APPEND,
            stored_messages=pool.read()[0].messages,
            refused_requests=sum(stats.errors.values()),
        )

    def resident_mib(self) -> float:
        return resident_mib(server.pid for server in self.servers)

    def _costs(self) -> Costs:
        return Costs(
            servers=read_cpu(server.pid for server in self.servers),
            database=read_cpu(self.database_pids),
            machine_seconds=machine_busy_seconds(),
        )


def _sample(run: Drive, before: Costs, after: Costs) -> Sample:
    stats = run.stats
    responses = max(1, stats.responses)
    latencies = sorted(stats.latencies) or [float("nan")]
    servers = after.servers.since(before.servers)
    database = after.database.since(before.database)
    elsewhere = after.machine_seconds - before.machine_seconds - servers - database - run.generator_cpu_seconds
    return Sample(
        rate=len(stats.latencies) / run.seconds,
        p50_ms=latencies[len(latencies) // 2] * MILLISECONDS,
        p99_ms=latencies[len(latencies) * 99 // 100] * MILLISECONDS,
        requests=stats.responses,
        errors=sum(stats.errors.values()),
        server_cpu_us=servers / responses * MICROSECONDS,
        database_cpu_us=database / responses * MICROSECONDS,
        generator_share=run.generator_cpu_seconds / run.seconds_in_all,
        elsewhere_share=max(0.0, elsewhere) / run.seconds_in_all,
    )
