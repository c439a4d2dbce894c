"""Connections take turns: one that sends chunks of a byte gets no more of the event loop at a time than it is given."""

import asyncio
from typing import Any, Final

import pytest
import uvicorn
from uvicorn.server import ServerState

from sessionary.server.protocol import bounded_protocol
from sessionary.server.request_cycle import Bounds

HEAD: Final = b"POST /x HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS: Final = 20_000
A_TURN_MAX: Final = 1_500
"""What is parsed at once is 4 KiB, and holds some 700 chunks of a byte."""


async def _answer_nothing(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _count_what_comes(_scope: Any, receive: Any, send: Any) -> None:
    count, more = 0, True
    while more:
        message = await receive()
        count, more = count + len(message["body"]), message["more_body"]
    body = b"%d" % count
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("application", "status", "body"),
    [(_answer_nothing, b"404", b""), (_count_what_comes, b"200", b"%d" % CHUNKS)],
    ids=["refused", "taken"],
)
async def test_chunks_of_a_byte_leave_the_loop_to_others(application: Any, status: bytes, body: bytes) -> None:
    bounds = Bounds(header_seconds=10, body_seconds=10, idle_seconds=10, connections=10)
    config = uvicorn.Config(application, http=bounded_protocol(bounds), lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    made: list[Any] = []

    def make() -> Any:
        made.append(config.http_protocol_class(config=config, server_state=state, app_state={}))  # type: ignore[call-arg]
        return made[-1]

    server = await loop.create_server(make, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(HEAD + b"1\r\nx\r\n" * CHUNKS + b"0\r\n\r\n")
    turns, before = [0], 0
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    async with asyncio.timeout(30):
        while before <= CHUNKS:
            await asyncio.sleep(0)
            framing = made[0]._framing if made else None  # noqa: SLF001 - what was parsed so far
            now = framing.chunks if framing is not None else before
            turns.append(now - before)
            before = now
        assert (await answer).startswith(b"HTTP/1.1 " + status)
        assert await reader.readexactly(len(body)) == body
    assert max(turns) <= A_TURN_MAX
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
