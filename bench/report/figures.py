"""The figures that sessionary is to reach, beside what a run measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from bench.workloads.service import HEADLINE_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.results import Results

LISTED = "list-user"
# A contender, a load and a number of connections.
Measured: TypeAlias = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: what was measured, what the prototype reached, and what is the goal."""

    name: str
    engine: str
    measured: float
    reach: float
    stretch: float | None = None
    is_bound: bool = False

    @property
    def verdict(self) -> str:
        """Say in a word or two how it went."""
        if self._meets(self.stretch):
            return "stretch"
        return "reached" if self._meets(self.reach) else f"missed by {self._distance:.0%}"

    def _meets(self, goal: float | None) -> bool:
        return goal is not None and (self.measured <= goal if self.is_bound else self.measured >= goal)

    @property
    def _distance(self) -> float:
        return abs(self.measured - self.reach) / self.reach


@dataclass(frozen=True, slots=True)
class Goals:
    """Reach and stretch of one engine."""

    engine: str
    conventional: dict[str, tuple[float, float]]
    limit: dict[str, tuple[float, float]]
    cpu: dict[str, tuple[float, float]]
    store: dict[str, tuple[float, float]]


GOALS = (
    Goals(
        engine="sqlite",
        conventional={"append": (30, 50), "get": (70, 100), LISTED: (28, 45)},
        limit={},
        cpu={"append": (3.2, 2.4), "get": (1.9, 1.5), LISTED: (4.5, 3)},
        store={"append": (0.85, 1.0)},
    ),
    Goals(
        engine="postgres",
        conventional={"append": (27, 45), "get": (36, 50), LISTED: (12, 25)},
        limit={"append": (0.75, 1.2), "get": (1.2, 1.6), LISTED: (0.37, 0.8)},
        cpu={"append": (4, 2.8), "get": (3, 2), LISTED: (6, 4)},
        store={"append": (1.4, 2.0), "get": (2.2, 3)},
    ),
)


def figures(results: Results) -> list[Figure]:
    """Return the figures that this run can tell."""
    return [
        figure
        for goals in GOALS
        for part in (_rates, _costs, _stores, _bounds, _footprint)
        for figure in part(results, goals)
    ]


def _rates(results: Results, goals: Goals) -> Iterator[Figure]:
    for other, wanted in (("conventional", goals.conventional), ("limit", goals.limit)):
        for load, (reach, stretch) in wanted.items():
            ours, theirs = (_headline(f"{name}-{goals.engine}", load) for name in ("sessionary", other))
            ratio = _ratio(results, ours, theirs)
            if ratio:
                yield Figure(f"{load}, times {_called(other, goals)}", goals.engine, ratio, reach, stretch)


def _costs(results: Results, goals: Goals) -> Iterator[Figure]:
    for load, (reach, stretch) in goals.cpu.items():
        ours, nothing = (_headline(name, load) for name in (f"sessionary-{goals.engine}", "empty-asgi"))
        ratio = _ratio(results, ours, nothing, "server_cpu_us")
        if ratio:
            name = f"{load}, server CPU against an empty handler"
            yield Figure(name, goals.engine, ratio, reach, stretch, is_bound=True)


def _stores(results: Results, goals: Goals) -> Iterator[Figure]:
    for load, (reach, stretch) in goals.store.items():
        for connections in (HEADLINE_CONNECTIONS, 4 * HEADLINE_CONNECTIONS):
            # The limit of PostgreSQL has a number of clients of its own.
            at = connections if goals.engine == "sqlite" else HEADLINE_CONNECTIONS
            ratio = _ratio(results, (f"store-{goals.engine}", load, connections), (f"limit-{goals.engine}", load, at))
            if ratio:
                name = f"the store alone, {load} at {connections}, times {_called('limit', goals)}"
                yield Figure(name, goals.engine, ratio, reach, stretch)


def _bounds(results: Results, goals: Goals) -> Iterator[Figure]:
    name, engine = f"sessionary-{goals.engine}", goals.engine
    hot = _ratio(results, _headline(name, "append-one"), _headline(name, "append-each"))
    if hot:
        yield Figure("64 writers on one session against 64 on 64", engine, hot, 0.8)
    long = _ratio(results, (name, "append@10", 16), (name, "append@10000", 16))
    if long:
        yield Figure("append at 10,000 messages against 10", engine, long, 1.15, is_bound=True)
    sizes = [int(c.workload.partition("@")[2]) for c in results.cells if c.workload.startswith("page-cursor@")]
    if sizes:
        size = max(sizes)
        deep = _ratio(results, (name, f"page-cursor@{size}", 1), (name, f"page-first@{size}", 1), "p50_ms")
        if deep:
            yield Figure(f"deepest page by cursor against the first of {size:,}", engine, deep, 1.5, is_bound=True)
    append = results.cell(name, "append", HEADLINE_CONNECTIONS)
    if append:
        spread = append.spread("p99_ms").median / append.spread("p50_ms").median
        yield Figure("append, p99 / p50", engine, spread, 4, is_bound=True)


def _footprint(results: Results, goals: Goals) -> Iterator[Figure]:
    name, engine = f"sessionary-{goals.engine}", goals.engine
    for what, bound in (("idle", 70), ("after the run", 150)):
        if found := results.finding("memory", name, what):
            yield Figure(f"resident memory, {what}, MiB", engine, found.spread.median, bound, is_bound=True)
    for found in results.findings:
        if found.study == "starting" and found.contender == name:
            seconds = 0.6 if found.what == "an empty database" else 1.0
            yield Figure(f"start to ready, {found.what}, s", engine, found.spread.median, seconds, is_bound=True)


def _ratio(results: Results, one: Measured, other: Measured, measure: str = "rate") -> float | None:
    first, second = results.cell(*one), results.cell(*other)
    if first is None or second is None or not second.spread(measure).median:
        return None
    return first.spread(measure).median / second.spread(measure).median


def _headline(contender: str, load: str) -> Measured:
    return contender, load, HEADLINE_CONNECTIONS


def _called(other: str, goals: Goals) -> str:
    if other == "conventional":
        return "the conventional stack"
    return "pgbench" if goals.engine == "postgres" else "the bare loop"
