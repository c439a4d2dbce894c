"""A connection that sends many tiny chunks does not block the event loop for others."""

import asyncio
from typing import Any, Final

import pytest
import uvicorn
from uvicorn.server import ServerState

from sessionary.server.protocol import make_protocol_class
from sessionary.server.request_cycle import ConnectionLimits

HEAD: Final = b"POST /x HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS: Final = 20_000
CHUNKS_AT_ONCE_MAX: Final = 1_500
"""At most 4 KiB are parsed at once, which are about 700 chunks of one byte."""


async def _answer_404(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _answer_body_size(_scope: Any, receive: Any, send: Any) -> None:
    count, more = 0, True
    while more:
        message = await receive()
        count, more = count + len(message["body"]), message["more_body"]
    body = b"%d" % count
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("application", "status", "body"),
    [(_answer_404, b"404", b""), (_answer_body_size, b"200", b"%d" % CHUNKS)],
    ids=["refused", "accepted"],
)
async def test_many_tiny_chunks_do_not_block_the_event_loop(application: Any, status: bytes, body: bytes) -> None:
    limits = ConnectionLimits(header_seconds=10, body_seconds=10, idle_seconds=10, connections=10)
    config = uvicorn.Config(application, http=make_protocol_class(limits), lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    protocols: list[Any] = []

    def make_protocol() -> Any:
        protocols.append(config.http_protocol_class(config=config, server_state=state, app_state={}))  # type: ignore[call-arg]
        return protocols[-1]

    server = await loop.create_server(make_protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(HEAD + b"1\r\nx\r\n" * CHUNKS + b"0\r\n\r\n")
    chunks_at_once, before = [0], 0
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    async with asyncio.timeout(30):
        while before <= CHUNKS:
            await asyncio.sleep(0)
            framing = protocols[0]._framing if protocols else None  # noqa: SLF001 - the state of the parser
            now = framing.chunks if framing is not None else before
            chunks_at_once.append(now - before)
            before = now
        assert (await answer).startswith(b"HTTP/1.1 " + status)
        assert await reader.readexactly(len(body)) == body
    assert max(chunks_at_once) <= CHUNKS_AT_ONCE_MAX
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
