"""The load generator counts what it should, and notices what it must."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from itertools import cycle, repeat
from typing import TYPE_CHECKING

import pytest

from bench.load.connection import Request
from bench.load.drive import LoadError, drive, fetch_all
from bench.load.response_stats import ResponseStats
from bench.workloads.base import shares
from bench.workloads.dialect import SessionsApi
from bench.workloads.payload import conversation, text, turn
from bench.workloads.pool import LostWriteError, Pool
from bench.workloads.service import Scale, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.load.connection import Address

REQUEST = Request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 7)


class Scripted(socketserver.ThreadingTCPServer):
    """A server that responds to each request with the next pieces of its script, in a loop."""

    request_queue_size = 64

    def __init__(self, *responses: Sequence[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.responses = responses
        self.address: Address = ("127.0.0.1", int(self.server_address[1]))


class Conversation(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Scripted)
        for pieces in cycle(self.server.responses):
            if not pieces or not self.request.recv(65536):
                return
            for piece in pieces:
                self.request.sendall(piece)
                time.sleep(0.002)


@pytest.fixture
def scripted(request: pytest.FixtureRequest) -> Iterator[Scripted]:
    with Scripted(*request.param) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def response(status: str = "200 OK", body: bytes = b"{}") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "scripted",
    [
        [[response(body=b"x" * 5000)]],
        [[response(body=b"x" * 5000)[:10], response(body=b"x" * 5000)[10:]]],
        [[response(body=b"x" * 5000)[:60], response(body=b"x" * 5000)[60:900], response(body=b"x" * 5000)[900:]]],
        [[response(body=b"x" * 5000).replace(b"content-length", b"Content-Length")]],
    ],
    ids=["whole", "head in two", "body in pieces", "other case"],
    indirect=True,
)
def test_an_answer_is_counted_once_however_it_arrives(scripted: Scripted) -> None:
    stats = ResponseStats(keep_bodies=True, responses_max=5)
    drive([scripted.address], [repeat(REQUEST)], 5, stats)
    assert stats.responses == 5
    assert stats.acknowledged == {7: 5}
    assert {body for _, body in stats.bodies} == {b"x" * 5000}


@pytest.mark.parametrize("scripted", [[[response()], [response("503 Busy")]]], indirect=True)
def test_a_refusal_is_an_error_and_uncertain(scripted: Scripted) -> None:
    stats = ResponseStats()
    drive([scripted.address], [iter([REQUEST] * 4)], 5, stats)
    assert stats.errors == {"503": 2}
    assert (stats.acknowledged, stats.uncertain) == ({7: 2}, {7: 2})


@pytest.mark.parametrize("scripted", [[[response()], []]], indirect=True)
def test_a_lost_connection_is_an_error_and_uncertain(scripted: Scripted) -> None:
    stats = ResponseStats()
    drive([scripted.address], [iter([REQUEST] * 4)], 5, stats)
    assert stats.errors == {"connection lost": 2}
    assert (stats.acknowledged, stats.uncertain) == ({7: 2}, {7: 2})


@pytest.mark.parametrize("scripted", [[[response()], [response("500 Oops\r\nconnection: close")], []]], indirect=True)
def test_a_client_comes_back_after_an_error_that_ends_its_connection(scripted: Scripted) -> None:
    stats = ResponseStats()
    drive([scripted.address], [iter([REQUEST] * 4)], 5, stats)
    assert stats.errors == {"500": 2}
    assert stats.acknowledged == {7: 2}


@pytest.mark.parametrize("scripted", [[[response("404 Not Found")]]], indirect=True)
def test_fetching_all_fails_when_one_is_missing(scripted: Scripted) -> None:
    with pytest.raises(LoadError, match="404"):
        fetch_all([scripted.address], [REQUEST] * 3, connections=2)


def session(messages: int, tokens: int) -> bytes:
    found = {
        "messages": [{}] * messages,
        "total_messages": messages,
        "total_tokens": tokens,
        "expires_at": "2026-01-01T00:00:00.000Z",
    }
    return response(body=json.dumps(found).encode())


@pytest.mark.parametrize("scripted", [[[session(2, 250)]]], indirect=True)
@pytest.mark.parametrize(
    ("appended", "uncertain", "is_right"), [(1, 0, True), (0, 1, True), (2, 0, False), (0, 0, False)]
)
def test_the_ledger_notices_a_lost_or_invented_append(
    scripted: Scripted, *, appended: int, uncertain: int, is_right: bool
) -> None:
    dialect = SessionsApi("o", "t")
    service = Service([scripted.address], dialect, dialect, Scale(1, 1), fetch_connections=1)
    pool = Pool(service, messages=0, sessions=["s"])
    pool._first_expiry = {0: "2026-01-01T00:00:00.000Z"}  # noqa: SLF001 - as if it had been filled
    pool.appended[0], pool.uncertain[0] = appended, uncertain
    if is_right:
        pool.verify()
        return
    with pytest.raises(LostWriteError):
        pool.verify()


def test_messages_are_of_500_bytes() -> None:
    assert {len(text(seed).encode()) for seed in range(50)} == {500}
    assert [message["role"] for message in turn(3)] == ["user", "assistant"]
    assert len(conversation(7)) == 7


def test_connections_share_no_request_while_there_are_enough() -> None:
    requests = [str(number).encode() for number in range(8)]
    firsts = [[next(share).slot for _ in range(2)] for share in shares(requests, 4)]
    assert firsts == [[0, 4], [1, 5], [2, 6], [3, 7]]
