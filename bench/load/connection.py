"""One kept-alive HTTP/1.1 connection in a closed loop: it sends its next request when the last response is complete."""

from __future__ import annotations

import asyncio
import re
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from bench.load.response_stats import ACKNOWLEDGED, STATUS, ResponseStats

if TYPE_CHECKING:
    from collections.abc import Iterator


Address: TypeAlias = tuple[str, int]

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD_END = b"\r\n\r\n"
CLOSE = b"\r\nconnection: close\r\n"


class Request(NamedTuple):
    """The bytes to send, and the number under which the workload counts the response."""

    raw: bytes
    slot: int


class Connection(asyncio.Protocol):
    """Sends requests from its script one after the other, and counts what came back.

    It parses no more of a response than its status and its length: the generator must stay cheaper than any server.
    """

    def __init__(self, address: Address, script: Iterator[Request], stats: ResponseStats) -> None:
        self.address = address
        self.script = script
        self.stats = stats
        self.finished = asyncio.get_running_loop().create_future()
        self._opening: asyncio.Task[None] | None = None
        self._waits = False
        self._transport: asyncio.Transport
        self._request = Request(b"", 0)
        self._sent_at = 0.0
        self._pieces: list[bytes] = []
        self._missing = 0
        self._body_at = 0

    async def open(self) -> None:
        """Connect."""
        await asyncio.get_running_loop().create_connection(lambda: self, *self.address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send_next(self) -> None:
        """Send the script's next request, or finish when the run is over."""
        request = next(self.script, None) if self.stats.is_open else None
        if request is None:
            self._finish()
            return
        self._request = request
        self._waits = True
        self._sent_at = perf_counter()
        self._transport.write(request.raw)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._pieces.append(data)
            self._missing -= len(data)
        else:
            self._read_head(data)
        if not self._missing and self._body_at:
            self._complete()

    def _read_head(self, data: bytes) -> None:
        if self._pieces:
            data = b"".join((*self._pieces, data))
            self._pieces.clear()
        self._pieces.append(data)
        head_end = data.find(HEAD_END)
        if head_end < 0:
            return
        length = CONTENT_LENGTH.search(data, 0, head_end)
        self._body_at = head_end + len(HEAD_END)
        self._missing = self._body_at + int(length[1] if length else 0) - len(data)

    def _complete(self) -> None:
        seconds = perf_counter() - self._sent_at
        pieces = self._pieces
        response = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.stats.record_response(self._request.slot, response, self._body_at, seconds)
        is_last = response[STATUS] not in ACKNOWLEDGED and CLOSE in response[: self._body_at].lower()
        pieces.clear()
        self._body_at = 0
        self._waits = False
        if is_last:
            self._transport.close()
        else:
            self.send_next()

    def connection_lost(self, _error: Exception | None) -> None:
        if self.finished.done():
            return
        if self._waits:
            self.stats.lost(self._request.slot)
        self._pieces.clear()
        self._missing = self._body_at = 0
        # A server may end a connection, after an error for one; its client comes back.
        self._opening = asyncio.get_running_loop().create_task(self._open_again())

    async def _open_again(self) -> None:
        try:
            await self.open()
        except OSError:
            self.finished.set_result(None)
        else:
            self.send_next()

    def _finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)
        self._transport.close()
