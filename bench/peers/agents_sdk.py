"""Sessions of the OpenAI Agents SDK: a library, so it is measured without HTTP, in a process of its own."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contenders.base import Contender, Load, Race, Sample
from bench.contenders.environments import virtual_environment
from bench.contenders.programs import REPOSITORY
from bench.load.drive import LoadError
from bench.workloads.payload import MESSAGES_PER_APPEND, conversation

if TYPE_CHECKING:
    from bench.contenders.workspace import Workspace

REQUIREMENTS = REPOSITORY / "bench/peers/agents-requirements.txt"
PROGRAM = REPOSITORY / "bench/peers/agents_loop.py"
MESSAGES = 20


class AgentsSdk(Contender):
    """The library's own sessions: no users, no lists, no expiry."""

    engine: ClassVar[str]

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._filled: set[str] = set()
        self._process: subprocess.Popen[str]

    def start(self) -> None:
        python = virtual_environment("agents", REQUIREMENTS)
        database = self.workspace.empty_database(self.engine)
        with (self.workspace.directory / f"{self.name}.log").open("a") as log:
            self._process = subprocess.Popen(
                [python, PROGRAM, database.url.replace("postgresql:", "postgresql+asyncpg:")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._write(conversation(MESSAGES))

    def stop(self) -> None:
        self._process.communicate()

    def carries(self, workload: str) -> bool:
        return workload in {"append", "get"}

    def prepare(self, workload: str) -> None:
        if workload not in self._filled:
            self._filled.add(workload)
            self._ask(do="fill", kind=workload)

    def measure(self, load: Load) -> Sample:
        found = self._ask(do="measure", kind=load.workload, tasks=load.connections, seconds=load.seconds)
        return Sample(**found)

    def verify(self, workload: str) -> None:
        """What it keeps of what it acknowledged shows in the race."""

    def race(self, writers: int, appends: int) -> Race:
        acknowledged, stored = self._ask(do="race", writers=writers, appends=appends)
        refused = writers * appends - acknowledged // MESSAGES_PER_APPEND
        return Race(acknowledged, stored, refused)

    def _ask(self, **order: object) -> Any:
        self._write(order)
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise LoadError(f"{self.name} ended by itself")
        return json.loads(line)

    def _write(self, what: object) -> None:
        if self._process.stdin:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()


class AgentsOnSqlite(AgentsSdk):
    """`SQLiteSession`, as it installs."""

    name = "agents-sqlite"
    engine = "sqlite"


class AgentsOnPostgres(AgentsSdk):
    """`SQLAlchemySession` on asyncpg, with a pool of 16."""

    name = "agents-postgres"
    engine = "postgres"
