"""What came back from a run: latencies, errors, and which requests were acknowledged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

STATUS = slice(9, 12)  # "HTTP/1.1 200 OK"
ACKNOWLEDGED = frozenset({b"200", b"201"})


@dataclass(slots=True)
class ResponseStats:
    """Counts responses while a run is open, and those still pending when it closes."""

    keep_bodies: bool = False
    responses_max: int = 1_000_000
    is_open: bool = True
    responses: int = 0
    latencies: list[float] = field(default_factory=list)
    acknowledged: Counter[int] = field(default_factory=Counter)
    uncertain: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    body_bytes_min: int = 1 << 60
    body_bytes_max: int = 0

    def record_response(self, slot: int, response: bytes, body_at: int, seconds: float) -> None:
        """Count one complete response, whose body starts at `body_at`."""
        self.responses += 1
        status = response[STATUS]
        if status not in ACKNOWLEDGED:
            self.errors[status.decode("latin-1")] += 1
            self.uncertain[slot] += 1
            return
        self.acknowledged[slot] += 1
        size = len(response) - body_at
        self.body_bytes_min = min(self.body_bytes_min, size)
        self.body_bytes_max = max(self.body_bytes_max, size)
        if self.keep_bodies:
            self.bodies.append((slot, response[body_at:]))
        if self.is_open:
            self.latencies.append(seconds)
            self.is_open = self.responses < self.responses_max

    def lost(self, slot: int) -> None:
        """Count a connection that ended under a request: whether that one took effect is unknown."""
        self.errors["connection lost"] += 1
        self.uncertain[slot] += 1
