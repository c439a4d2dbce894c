"""The OpenAI Agents SDK's sessions in a closed loop; commands and results are JSON lines.

It runs in an environment of its own, so it imports nothing of this repository.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from itertools import cycle
from typing import TYPE_CHECKING, Any

from agents import SQLiteSession
from agents.extensions.memory import SQLAlchemySession
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agents.memory import Session

POOL_SIZE = 16
SESSIONS = 128
FIRST_ITEMS = 20


class Sessions:
    """The sessions of one database, made once and kept."""

    def __init__(self, url: str, items: list[dict[str, str]]) -> None:
        self._url = url
        self._turn = items[:2]
        self._first = items[:FIRST_ITEMS]
        self._made: dict[str, Session] = {}
        self._engine = None if url.startswith("sqlite:") else create_async_engine(url, pool_size=POOL_SIZE)

    def named(self, name: str) -> Session:
        """Return a session."""
        if name not in self._made:
            self._made[name] = (
                SQLAlchemySession(name, engine=self._engine, create_tables=True)
                if self._engine
                else SQLiteSession(name, self._url.removeprefix("sqlite:///"))
            )
        return self._made[name]

    async def fill(self, kind: str) -> None:
        """Make the sessions that one workload uses."""
        for number in range(SESSIONS):
            await self.named(f"{kind}-{number}").add_items(self._first)

    def work(self, kind: str, task: int, tasks: int) -> Callable[[], Awaitable[object]]:
        """Return what one task does again and again."""
        mine = [self.named(f"{kind}-{number}") for number in range(task % SESSIONS, SESSIONS, tasks)]
        turns = cycle(mine)
        if kind == "get":
            return lambda: next(turns).get_items()
        return lambda: next(turns).add_items(self._turn)

    async def race(self, writers: int, appends: int) -> tuple[int, int]:
        """Let many append to one session; answer how many items were acknowledged, and how many are stored."""
        session = self.named(f"race-{time.time_ns()}")

        async def write() -> int:
            return sum([await _succeeds(session.add_items(self._turn)) for _ in range(appends)])

        acknowledged = sum(await asyncio.gather(*(write() for _ in range(writers)))) * len(self._turn)
        return acknowledged, len(await session.get_items())


async def measure(sessions: Sessions, kind: str, tasks: int, seconds: float) -> dict[str, Any]:
    """Run a closed loop of so many tasks, and sum it up."""
    latencies: list[float] = []
    errors = 0
    started = time.perf_counter()

    async def repeat(work: Callable[[], Awaitable[object]]) -> None:
        nonlocal errors
        while (began := time.perf_counter()) - started < seconds:
            errors += not await _succeeds(work())
            latencies.append(time.perf_counter() - began)

    cpu_before = _cpu_seconds()
    await asyncio.gather(*(repeat(sessions.work(kind, task, tasks)) for task in range(tasks)))
    lasted = time.perf_counter() - started
    latencies.sort()
    return {
        "rate": (len(latencies) - errors) / lasted,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
        "requests": len(latencies),
        "errors": errors,
        "server_cpu_us": (_cpu_seconds() - cpu_before) / len(latencies) * 1e6,
    }


async def main(url: str) -> None:
    """Do what each line asks for."""
    sessions = Sessions(url, json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        order = json.loads(line)
        answer: object = None
        if order["do"] == "fill":
            await sessions.fill(order["kind"])
        elif order["do"] == "race":
            answer = await sessions.race(order["writers"], order["appends"])
        else:
            answer = await measure(sessions, order["kind"], order["tasks"], order["seconds"])
        print(json.dumps(answer), flush=True)


async def _succeeds(work: Awaitable[object]) -> bool:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - whatever a peer raises, the write was not acknowledged
        print(repr(error)[:200], file=sys.stderr)
        return False
    return True


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
