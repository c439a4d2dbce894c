"""Whatever is measured: something that can be started, loaded and stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.workloads.service import HEADLINE_CONNECTIONS

if TYPE_CHECKING:
    from bench.contenders.databases import Database


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contender under one load."""

    rate: float
    p50_ms: float
    p99_ms: float
    requests: int
    errors: int
    server_cpu_us: float = 0.0
    database_cpu_us: float = 0.0
    generator_share: float = 0.0
    elsewhere_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Race:
    """What came of many appending to one session at once."""

    acknowledged_messages: int
    stored_messages: int
    refused_requests: int


FAILED = Sample(rate=0.0, p50_ms=float("nan"), p99_ms=float("nan"), requests=0, errors=1)


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a contender in one round."""

    workload: str
    connections: int
    seconds: float


class Contender(ABC):
    """One thing that is measured beside others, under the same loads."""

    name: str
    database: Database | None = None

    @abstractmethod
    def start(self) -> None:
        """Start it and wait until it is ready."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it and forget its data."""

    def is_scaled_to(self, connections: int) -> bool:
        """Whether a whole run measures it at this many connections too, and not at the headline's alone."""
        return connections == HEADLINE_CONNECTIONS

    @abstractmethod
    def carries(self, workload: str) -> bool:
        """Tell whether it can be put under this load."""

    @abstractmethod
    def prepare(self, workload: str) -> None:
        """Make what this load needs; only the first call for each load does something."""

    @abstractmethod
    def measure(self, load: Load) -> Sample:
        """Bear a load for one round."""

    @abstractmethod
    def verify(self, workload: str) -> None:
        """Raise unless everything acknowledged under this load is stored."""

    def race(self, writers: int, appends: int) -> Race | None:  # noqa: ARG002 - not everyone can
        """Let many append to one session at once."""
        return None

    def resident_mib(self) -> float:
        """Memory of its server processes now, where it has any."""
        return 0.0
