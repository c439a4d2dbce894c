"""Timing work that needs no server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.contenders.base import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

MILLISECONDS = 1000
MICROSECONDS = 1_000_000


def sample_of(work: Callable[[], int], seconds: float) -> Sample:
    """Repeat work, which answers how many requests it did at once, for so long."""
    latencies: list[float] = []
    done = 0
    cpu_before, started = time.process_time(), time.perf_counter()
    now = started
    while now - started < seconds:
        before = now
        done += work()
        now = time.perf_counter()
        latencies.append(now - before)
    return summary(done, now - started, latencies, time.process_time() - cpu_before)


def summary(done: int, seconds: float, latencies: list[float], cpu_seconds: float) -> Sample:
    """Sum up one round that ran inside one process."""
    latencies.sort()
    return Sample(
        rate=done / seconds,
        p50_ms=latencies[len(latencies) // 2] * MILLISECONDS,
        p99_ms=latencies[len(latencies) * 99 // 100] * MILLISECONDS,
        requests=done,
        errors=0,
        server_cpu_us=cpu_seconds / max(1, done) * MICROSECONDS,
    )
