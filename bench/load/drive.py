"""Drive a server with N connections for a time, and send many requests at once."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import uvloop

from bench.load.connection import Address, Connection, Request
from bench.load.response_stats import ResponseStats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GRACE_SECONDS = 30
FETCH_SECONDS_MAX = 120
# A round goes on past its time, but not past this, until there are as many answers for every connection.
ANSWERS_EACH_MIN = 1
SECONDS_MIN = 4.0
PATIENCE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Drive:
    """One run of the load generator: its response stats, how long it was open, how long it took, and its CPU time."""

    stats: ResponseStats
    seconds: float
    seconds_in_all: float
    generator_cpu_seconds: float


class LoadError(RuntimeError):
    """The run could not be carried out."""


def drive(
    addresses: Sequence[Address], scripts: Sequence[Iterator[Request]], seconds: float, stats: ResponseStats
) -> Drive:
    """Keep one connection per script busy for `seconds`, then wait for what is still on its way.

    A server so slow that its clients have had few answers by then gets more time: a median of nothing says nothing.
    """
    with _without_garbage_collection(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_drive(addresses, scripts, seconds, stats))


def fetch_all(addresses: Sequence[Address], requests: Sequence[Request], connections: int) -> dict[int, bytes]:
    """Send every request once, and return the bodies by slot; raises if one of them failed."""
    stats = ResponseStats(keep_bodies=True, responses_max=len(requests) + 1)
    supply = iter(requests)
    drive(addresses, [supply] * connections, FETCH_SECONDS_MAX, stats)
    if len(stats.bodies) < len(requests):
        message = f"{len(stats.bodies)} of {len(requests)} requests succeeded; errors: {dict(stats.errors)}"
        raise LoadError(message)
    return dict(stats.bodies)


async def _drive(
    addresses: Sequence[Address], scripts: Sequence[Iterator[Request]], seconds: float, stats: ResponseStats
) -> Drive:
    connections = [
        Connection(address, script, stats) for script, address in zip(scripts, cycle(addresses), strict=False)
    ]
    for connection in connections:
        await connection.open()
    cpu_before, started = time.process_time(), time.perf_counter()
    for connection in connections:
        connection.send_next()
    finished = asyncio.gather(*(connection.finished for connection in connections))
    enough = ANSWERS_EACH_MIN * len(connections)
    await asyncio.wait([finished], timeout=seconds)
    while not finished.done() and len(stats.latencies) < enough and time.perf_counter() - started < SECONDS_MIN:
        await asyncio.wait([finished], timeout=PATIENCE_SECONDS)
    open_seconds = time.perf_counter() - started
    stats.is_open = False
    try:
        await asyncio.wait_for(finished, GRACE_SECONDS)
    except TimeoutError as error:
        message = f"no answer within {GRACE_SECONDS} s"
        raise LoadError(message) from error
    return Drive(stats, open_seconds, time.perf_counter() - started, time.process_time() - cpu_before)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    # The generator makes no cycles while it runs, and a collection would show as a latency of the server's.
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
