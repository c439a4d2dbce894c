"""A running server as the workloads see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.load.connection import Request
from bench.load.drive import fetch_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.load.connection import Address
    from bench.workloads.dialect import Dialect

# The figures are about this many clients.
HEADLINE_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is of everything."""

    pool_sessions: int
    archive_sessions: int


@dataclass(frozen=True, slots=True)
class Service:
    """Where a server is, how one speaks of one organisation or another, and how much to keep there."""

    addresses: Sequence[Address]
    dialect: Dialect
    archive: Dialect
    scale: Scale
    is_real: bool = True
    fetch_connections: int = 16

    def fetch(self, requests: Sequence[bytes]) -> list[bytes]:
        """Send every request once, unmeasured, and return the responses in the same order."""
        numbered = [Request(raw, slot) for slot, raw in enumerate(requests)]
        responses = fetch_all(self.addresses, numbered, self.fetch_connections)
        return [responses[slot] for slot in range(len(requests))]
