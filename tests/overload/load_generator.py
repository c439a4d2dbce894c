"""Generating load: closed-loop with a number of workers, or open-loop with a fixed rate of requests."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

EncodeRequest = Callable[[int], bytes]
"""Encodes the complete HTTP/1.1 request of a number."""


@dataclass
class LoadResult:
    """The result of a load: the number of responses by status, and the seconds of accepted and refused ones."""

    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Accepted requests per second."""
        return len(self.accepted) / self.seconds

    def record(self, head: bytes, seconds: float) -> None:
        """Record a response by its head."""
        status = int(head[9:12])
        self.statuses[status] += 1
        if status < 300:
            self.accepted.append(seconds)
            return
        self.refused.append(seconds)
        if b"\r\nretry-after: " not in head:
            self.without_retry_after += 1


def percentile(values: list[float], part: float) -> float:
    """Return a percentile of the values; ``part`` is between 0 and 1."""
    return sorted(values)[min(len(values) - 1, math.ceil(part * len(values)) - 1)]


class Load:
    """Sends requests over as many connections as needed, one request at a time on each."""

    def __init__(self, port: int, encode_request: EncodeRequest) -> None:
        self._port = port
        self._encode_request = encode_request
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._number = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        writers = [writer for _, writer in self._idle]
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    async def run_closed_loop(self, workers: int, seconds: float) -> LoadResult:
        """Let each of several workers send one request after another."""
        result = LoadResult(seconds=seconds)
        ends_at = time.perf_counter() + seconds

        async def work() -> None:
            while time.perf_counter() < ends_at:
                await self._send_one(result)

        await asyncio.gather(*(work() for _ in range(workers)))
        return result

    async def run_open_loop(self, rate: float, seconds: float) -> LoadResult:
        """Start ``rate`` requests per second, and wait for late responses after that."""
        result = LoadResult(seconds=seconds)
        started = time.perf_counter()
        running: set[asyncio.Task[None]] = set()
        started_count = 0
        while (passed := time.perf_counter() - started) < seconds:
            for _ in range(int(passed * rate) - started_count):
                task = asyncio.create_task(self._send_one(result))
                running.add(task)
                task.add_done_callback(running.discard)
                started_count += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*running)
        return result

    async def _send_one(self, result: LoadResult) -> None:
        self._number += 1
        started = time.perf_counter()
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._encode_request(self._number))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        result.record(head.lower(), time.perf_counter() - started)
        self._idle.append((reader, writer))
