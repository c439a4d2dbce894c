"""The heart of a run: contenders take turns under the same load, so that a noisy moment hits all of them alike."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.contenders.base import FAILED, Contender, Load, Sample
from bench.contenders.catalogue import CONTENDERS
from bench.load.drive import LoadError
from bench.results import Cell, Verdict
from bench.workloads.pool import LostWriteError
from bench.workloads.reads import MismatchedResponseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.contenders.workspace import Workspace
    from bench.plan import Plan
    from bench.report.progress import Progress

WARM_UP_SECONDS = 0.3


@dataclass
class Stage:
    """A run: its plan, its running contenders, and their memory before any load."""

    plan: Plan
    workspace: Workspace
    progress: Progress
    contenders: list[Contender] = field(default_factory=list)
    idle_mib: dict[str, float] = field(default_factory=dict)
    _prepared: set[tuple[str, str]] = field(default_factory=set)

    @contextmanager
    def started(self) -> Iterator[None]:
        """Start the plan's contenders, and stop them all at the end."""
        try:
            for name in self.plan.contenders:
                self.progress.say(f"starting {name}")
                contender = CONTENDERS[name](self.workspace)
                contender.start()
                self.contenders.append(contender)
                self.idle_mib[name] = contender.resident_mib()
            yield
        finally:
            for contender in self.contenders:
                contender.stop()

    def compare(self, workload: str) -> Iterator[list[Cell]]:
        """Put all contenders that can bear it under one kind of load, at every number of connections."""
        able = [contender for contender in self.contenders if self._prepare(contender, workload)]
        warm = False
        for connections in self.plan.connections_for(workload):
            load = Load(workload, connections, self.plan.seconds_at(connections))
            everyone = self.plan.narrowed_connections
            if chosen := [one for one in able if everyone or one.is_scaled_to(connections)]:
                yield self.alternate([(contender, load) for contender in chosen], warm=warm)
                warm = True

    def _prepare(self, contender: Contender, workload: str) -> bool:
        if not contender.carries(workload):
            return False
        self.progress.say(f"preparing {workload} on {contender.name}")
        try:
            contender.prepare(workload)
        except LoadError as error:
            self.progress.tell(f"{contender.name} cannot be prepared for {workload}: {error}")
            return False
        self._prepared.add((contender.name, workload))
        return True

    def verify(self, workload: str) -> Iterator[Verdict]:
        """Have each contender show that it keeps what it acknowledged under one kind of load."""
        for contender in self.contenders:
            if (contender.name, workload) in self._prepared:
                self.progress.say(f"verifying {workload} on {contender.name}")
                yield Verdict(workload, contender.name, _complaint(contender, workload))

    def alternate(self, turns: Sequence[tuple[Contender, Load]], *, warm: bool = False) -> list[Cell]:
        """Give every turn its rounds, one after the other and again; before that one to get warm."""
        samples: list[list[Sample]] = [[] for _ in turns]
        for contender, load in turns if not warm else ():
            _measure(contender, replace(load, seconds=min(WARM_UP_SECONDS, load.seconds)))
        for number in range(self.plan.rounds):
            for (contender, load), found in zip(turns, samples, strict=True):
                found.append(_measure(contender, load))
                self.progress.say(
                    f"{load.workload} at {load.connections}, round {number + 1} of {self.plan.rounds}: "
                    f"{contender.name} {found[-1].rate:,.0f}/s"
                )
        return [
            Cell(load.workload, load.connections, contender.name, found)
            for (contender, load), found in zip(turns, samples, strict=True)
        ]


def _measure(contender: Contender, load: Load) -> Sample:
    # A contender that breaks down under a load is shown as having failed; the others go on.
    try:
        return contender.measure(load)
    except LoadError:
        return FAILED


def _complaint(contender: Contender, workload: str) -> str:
    try:
        contender.verify(workload)
    except (LostWriteError, MismatchedResponseError, LoadError) as error:
        return str(error)
    return ""
