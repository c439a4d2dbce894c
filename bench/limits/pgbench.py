"""The limit on PostgreSQL: `pgbench -M prepared`, one statement a transaction, on the same tables."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.contenders.base import Contender, Load, Sample
from bench.contenders.rows import NOW_MS, Batch, turn_body
from bench.processes import read_cpu
from tests.harness.binaries import find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.contenders.databases import Database
    from bench.contenders.workspace import Workspace

SCRIPTS = Path(__file__).parent / "scripts"
CLIENTS = 16
SECONDS_MIN = 2
ORGANISATION = "bench"
READ_ONLY = "read-only"
TURNS = 10
MICROSECONDS = 1_000_000
MILLISECONDS_PER_MICROSECOND = 0.001
RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
PROCESSED = re.compile(r"actually processed: (\d+)")


class PgbenchError(RuntimeError):
    """pgbench failed, or said nothing useful."""


class Pgbench(Contender):
    """What the database does when its clients ask for nothing but the statement itself."""

    name = "limit-postgres"
    database: Database

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def start(self) -> None:
        self.database = self.workspace.database("postgres")
        self._program = find_binaries(self.workspace.postgres.major) / "pgbench"
        self._batch = Batch(ORGANISATION, self.workspace.scale.pool_sessions, TURNS)
        self._read = Batch(READ_ONLY, self.workspace.scale.pool_sessions, TURNS)
        for batch in (self._batch, self._read):
            self.database.load(batch)

    def stop(self) -> None:
        """The database goes with its server."""

    def carries(self, workload: str) -> bool:
        return (SCRIPTS / f"{workload}.sql").exists()

    def prepare(self, workload: str) -> None:
        """Everything is there from the start."""

    def measure(self, load: Load) -> Sample:
        seconds = max(SECONDS_MIN, round(load.seconds))
        before = read_cpu(self.database.pids)
        logs = self.workspace.directory / "pgbench"
        output = self._run(load.workload, seconds, logs)
        database = read_cpu(self.database.pids).since(before)
        rate, processed = RATE.search(output), PROCESSED.search(output)
        if rate is None or processed is None:
            raise PgbenchError(output)
        latencies = sorted(_latencies_us(logs)) or [float("nan")]
        return Sample(
            rate=float(rate[1]),
            p50_ms=latencies[len(latencies) // 2] * MILLISECONDS_PER_MICROSECOND,
            p99_ms=latencies[len(latencies) * 99 // 100] * MILLISECONDS_PER_MICROSECOND,
            requests=int(processed[1]),
            errors=0,
            database_cpu_us=database / int(processed[1]) * MICROSECONDS,
        )

    def verify(self, workload: str) -> None:
        """A transaction of pgbench is committed when it is counted."""

    def _run(self, workload: str, seconds: int, logs: Path) -> str:
        for log in logs.parent.glob(f"{logs.name}.*"):
            log.unlink()
        where = urlsplit(self.database.url)
        done = subprocess.run(
            [
                self._program,
                *("-h", str(where.hostname), "-p", str(where.port), "-U", str(where.username)),
                *("-M", "prepared", "-n", "-c", str(CLIENTS), "-j", "1", "-T", str(seconds)),
                *("-l", "--log-prefix", str(logs), "--sampling-rate", "0.2"),
                *("-D", f"sessions={self._batch.sessions}", "-D", f"oldest_ms={NOW_MS - self._batch.sessions}"),
                *("-D", f"body={_text_of(turn_body(0))}"),
                *("-f", SCRIPTS / f"{workload}.sql", where.path.removeprefix("/")),
            ],
            env={**os.environ, "PGOPTIONS": "-c plan_cache_mode=force_generic_plan"},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise PgbenchError(done.stderr[-2000:])
        return done.stdout


def _text_of(body: bytes) -> str:
    # As a bound text parameter it must not look like an escaped one.
    return body.decode().replace("\\", "/")


def _latencies_us(logs: Path) -> Iterator[float]:
    for log in logs.parent.glob(f"{logs.name}.*"):
        yield from (float(line.split()[2]) for line in log.read_text().splitlines())
