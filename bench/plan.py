"""What a run measures: how many rounds, how long, which loads, which contenders, which studies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.workloads.catalogue import WORKLOADS
from bench.workloads.service import HEADLINE_CONNECTIONS, Scale

if TYPE_CHECKING:
    from pathlib import Path

# The loads whose scaling is shown; the others are measured at the headline's connections.
SCALED = frozenset({"create", "append", "get", "list-user"})
ARCHIVE_STUDIES = frozenset({"starting", "pages"})


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the command line decides."""

    rounds: int
    seconds: float
    scale: Scale
    workloads: tuple[str, ...]
    contenders: tuple[str, ...]
    studies: tuple[str, ...]
    connections: tuple[int, ...]
    narrowed_connections: bool
    directory: Path | None
    output: Path

    @property
    def needs_archive(self) -> bool:
        """Whether anything in it lists the large organisation."""
        lists = any(WORKLOADS[workload].needs_archive for workload in self.workloads)
        return lists or bool(ARCHIVE_STUDIES.intersection(self.studies))

    def connections_for(self, workload: str) -> tuple[int, ...]:
        """Return the numbers of connections at which a load is measured."""
        is_scaled = self.narrowed_connections or workload in SCALED
        return self.connections if is_scaled else (HEADLINE_CONNECTIONS,)

    def seconds_at(self, connections: int) -> float:
        """Return how long a round lasts: beside the headline's connections, half as long if those are measured too."""
        aside = connections != HEADLINE_CONNECTIONS and HEADLINE_CONNECTIONS in self.connections
        return self.seconds / 2 if aside else self.seconds
