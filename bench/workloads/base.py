"""What a workload is: requests for each connection, and a check of what came of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import cycle
from typing import TYPE_CHECKING, ClassVar

from bench.load.connection import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.load.response_stats import ResponseStats
    from bench.workloads.service import Service


class Workload(ABC):
    """One kind of load on one server; it is prepared once, run often, and verified at the end."""

    name: ClassVar[str]
    needs_archive: ClassVar[bool] = False
    keeps_bodies: ClassVar[bool] = False

    def __init__(self, service: Service) -> None:
        self.service = service

    @abstractmethod
    def prepare(self) -> None:
        """Make what the load needs."""

    @abstractmethod
    def scripts(self, connections: int) -> list[Iterator[Request]]:
        """Return the endless requests of each connection."""

    @abstractmethod
    def account(self, stats: ResponseStats) -> None:
        """Take note of what one run acknowledged."""

    @abstractmethod
    def verify(self) -> None:
        """Raise unless everything acknowledged is there."""


def shares(requests: Sequence[bytes], connections: int) -> list[Iterator[Request]]:
    """Deal requests out to the connections, so that no two of them send the same one while there are enough."""
    numbered = [Request(raw, slot) for slot, raw in enumerate(requests)]
    return [cycle(numbered[number % len(numbered) :: min(connections, len(numbered))]) for number in range(connections)]
