"""An open-loop load: requests begin when they are due, whatever became of those before."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

Spell = Callable[[int], bytes]
"""Spells the request of a number, whole, as HTTP/1.1 on a connection that stays open."""


@dataclass
class Tally:
    """What became of a load: how many answers of each status, and how long the accepted and the refused ones took."""

    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """How many were accepted a second."""
        return len(self.accepted) / self.seconds

    def told(self, head: bytes, seconds: float) -> None:
        """Count an answer by the head of it."""
        status = int(head[9:12])
        self.statuses[status] += 1
        if status < 300:
            self.accepted.append(seconds)
            return
        self.refused.append(seconds)
        if b"\r\nretry-after: " not in head:
            self.without_retry_after += 1


def percentile(values: list[float], part: float) -> float:
    """Answer the value that this part of the values does not pass."""
    return sorted(values)[min(len(values) - 1, math.ceil(part * len(values)) - 1)]


class Load:
    """Keeps as many connections as it takes, each with one request at a time."""

    def __init__(self, port: int, spell: Spell) -> None:
        self._port = port
        self._spell = spell
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._number = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        writers = [writer for _, writer in self._idle]
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    async def closed(self, workers: int, seconds: float) -> Tally:
        """Let so many workers send one request after another, and find how many are answered."""
        tally = Tally(seconds=seconds)
        ends_at = time.perf_counter() + seconds

        async def work() -> None:
            while time.perf_counter() < ends_at:
                await self._exchange(tally)

        await asyncio.gather(*(work() for _ in range(workers)))
        return tally

    async def open(self, rate: float, seconds: float) -> Tally:
        """Begin so many requests a second; answers that come later are waited for, but not counted in the time."""
        tally = Tally(seconds=seconds)
        began = time.perf_counter()
        running: set[asyncio.Task[None]] = set()
        begun = 0
        while (passed := time.perf_counter() - began) < seconds:
            for _ in range(int(passed * rate) - begun):
                task = asyncio.create_task(self._exchange(tally))
                running.add(task)
                task.add_done_callback(running.discard)
                begun += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*running)
        return tally

    async def _exchange(self, tally: Tally) -> None:
        self._number += 1
        began = time.perf_counter()
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._spell(self._number))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        tally.told(head.lower(), time.perf_counter() - began)
        self._idle.append((reader, writer))
