"""Connections: time limits, their number, pipelining, and requests that are invalid or ambiguous."""

import contextlib
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.harness.server import ServerProcess
from tests.harness.waiting import poll
from tests.http.callers import Caller, message, unknown_id
from tests.http.raw_connection import ConnectionClosedError, RawConnection, chunked, head

HEADER_SECONDS = 0.6
BODY_SECONDS = 1.0
IDLE_SECONDS = 1.4
CONNECTIONS = 12
BODY = b'{"userId":"someone"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with short time limits; the store does not matter here."""
    with ServerProcess(
        f"sqlite:///{tmp_path_factory.mktemp('store')}/sessionary.db",
        f"--header-seconds={HEADER_SECONDS}",
        f"--body-seconds={BODY_SECONDS}",
        f"--idle-seconds={IDLE_SECONDS}",
        f"--connections={CONNECTIONS}",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def operator_token(server: ServerProcess) -> str:
    return server.create_token(all_organisations=True)


def encode_request(caller: Caller, method: str = "GET", path: str = "", body: bytes = b"", **headers: str) -> bytes:
    """Encode a request of this caller, with a Content-Length if it has a body."""
    length = {"Content-Length": str(len(body))} if body else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head(method, caller.sessions + path, {"Authorization": f"Bearer {caller.token}", **length, **named}) + body


def test_late_headers_are_408(caller: Caller, connection: RawConnection) -> None:
    started = time.monotonic()
    connection.send(b"GET /api HTTP/1.1\r\nX-Request-Id: slow-1\r\nX-Slow: ")
    response = connection.receive()
    assert response.error == (408, "REQUEST_TIMEOUT")
    assert response.headers["connection"] == "close"
    assert response.headers["x-request-id"] == "slow-1"
    assert connection.rest() == b""
    assert HEADER_SECONDS * 0.9 < time.monotonic() - started < HEADER_SECONDS + 5
    assert caller.list().status == 200


def test_trickling_headers_are_408(connection: RawConnection) -> None:
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        for byte in b"GET /api HTTP/1.1\r\nX-Slow: " + b"x" * 200:
            connection.send(bytes([byte]))
            time.sleep(0.02)
            if time.monotonic() - started > HEADER_SECONDS + 1:
                break
    assert connection.rest().startswith(b"HTTP/1.1 408 ")


def test_a_silent_connection_is_closed(connection: RawConnection) -> None:
    assert connection.rest().startswith(b"HTTP/1.1 408 ")


def test_late_headers_of_a_second_request_are_408(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller))
    assert connection.receive().status == 200
    connection.send(encode_request(caller)[:-10])
    assert connection.receive().error == (408, "REQUEST_TIMEOUT")
    assert connection.rest() == b""


def test_a_connection_stays_open_while_it_is_used_and_is_closed_when_idle(
    caller: Caller, connection: RawConnection
) -> None:
    for _ in range(4):
        time.sleep(HEADER_SECONDS * 0.7)
        connection.send(encode_request(caller))
        assert connection.receive().status == 200
    started = time.monotonic()
    assert connection.rest() == b""
    assert IDLE_SECONDS * 0.9 < time.monotonic() - started < IDLE_SECONDS + 5


def test_line_ends_between_requests_do_not_keep_a_connection_open(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller))
    assert connection.receive().status == 200
    for _ in range(3):
        connection.send(b"\r\n")
        time.sleep(0.1)
    assert connection.rest() == b""


def test_a_late_body_is_408_and_the_connection_is_closed(caller: Caller, connection: RawConnection) -> None:
    whole = encode_request(caller, "POST", body=BODY, X_Request_Id="slow-2")
    started = time.monotonic()
    connection.send(whole[:-1])
    response = connection.receive()
    assert response.error == (408, "REQUEST_TIMEOUT")
    assert response.headers["connection"] == "close"
    assert response.headers["x-request-id"] == "slow-2"
    assert connection.rest() == b""
    assert BODY_SECONDS * 0.9 < time.monotonic() - started < BODY_SECONDS + 5
    assert caller.list().json == []


def test_a_trickling_body_is_408(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller, "POST", Transfer_Encoding="chunked"))
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - started < BODY_SECONDS + 1:
            connection.send(b"1\r\n \r\n")
            time.sleep(0.05)
    assert connection.rest().startswith(b"HTTP/1.1 408 ")


def test_waiting_for_the_rest_of_a_refused_body_ends(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller, "POST", Content_Length="9000000"))
    assert connection.receive().error == (413, "BODY_TOO_LARGE")
    connection.send(b"x" * 1_000)
    assert connection.rest() == b""


def test_after_the_rest_of_a_refused_body_the_connection_is_idle(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller, "POST", Content_Length="9000000"))
    assert connection.receive().status == 413
    connection.send(b"x" * 9_000_000)
    connection.send(encode_request(caller))
    assert connection.receive().status == 200
    connection.send(encode_request(caller, "POST", body=BODY, Content_Type="text/plain"))
    assert connection.receive().status == 415
    assert connection.rest() == b""


def test_a_header_section_that_never_ends_is_431(connection: RawConnection) -> None:
    fillers = (b"X-Filler-%d: %b\r\n" % (number, b"x" * 1_000) for number in range(2_000))
    connection.send_until_closed([b"GET /api HTTP/1.1\r\nHost: here\r\n", *fillers])
    response = connection.receive()
    assert response.error == (431, "HEADERS_TOO_LARGE")
    assert response.headers["connection"] == "close"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (b"GET /", (414, "QUERY_TOO_LONG")),
        (b"GET /?", (414, "QUERY_TOO_LONG")),
        (b"GET / HTTP/1.1\r\nX-Filler: ", (431, "HEADERS_TOO_LARGE")),
        (b"GET / HTTP/1.1\r\n", (431, "HEADERS_TOO_LARGE")),
    ],
)
def test_one_line_that_never_ends_is_refused(connection: RawConnection, start: bytes, error: tuple[int, str]) -> None:
    connection.send_until_closed([start, *[b"x" * 10_000] * 100])
    assert connection.receive().error == error


def test_too_many_connections_are_503_and_the_others_work(caller: Caller) -> None:
    assert caller.list().status == 200
    with contextlib.ExitStack() as opened:
        connections = [opened.enter_context(RawConnection(caller.port)) for _ in range(CONNECTIONS + 3)]
        refused = [connection.receive() for connection in connections[-3:]]
        for response in refused:
            assert response.error == (503, "OVERLOADED")
            assert response.headers["retry-after"] == "1"
            assert response.headers["connection"] == "close"
        assert caller.list().status == 200
        connections[0].send(encode_request(caller))
        assert connections[0].receive().status == 200
    poll(lambda: _is_served(caller), "room for a connection")


def _is_served(caller: Caller) -> bool:
    with RawConnection(caller.port) as connection:
        connection.send(encode_request(caller))
        return connection.receive().status == 200


GARBAGE = [
    b"\r\n\r\nhello\r\n\r\n",
    b"hello\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    b"GET / HTTQ/1.1\r\n\r\n",
    b"GET\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\n\r\n",
    b"BREW / HTTP/1.1\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\n\r\n",
    b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
    b"GET http:// HTTP/1.1\r\n\r\n",
    b"CONNECT here:443 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n: no name\r\n\r\n",
    b"GET / HTTP/1.1\r\nX Y: spaced name\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\nHost: here\n\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:30]))
def test_invalid_http_is_400_and_the_connection_is_closed(connection: RawConnection, garbage: bytes) -> None:
    connection.send(garbage)
    response = connection.receive()
    assert response.error == (400, "INVALID_REQUEST")
    assert response.headers["connection"] == "close"
    assert response.headers["x-request-id"]
    assert response.headers["date"]
    assert connection.rest() == b""


def smuggled(caller: Caller, *headers: str) -> bytes:
    """Encode a request whose body ends at different places for different readers, and a hidden second request after it."""
    hidden = encode_request(caller, "POST", body=b'{"userId":"smuggled"}')
    lines = [f"POST {caller.sessions} HTTP/1.1", "Host: here", f"Authorization: Bearer {caller.token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + hidden


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 20", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 20"],
        ["Transfer-Encoding: chunked", "Content-Length: 0"],
        ["Content-Length: 20", "Content-Length: 20"],
        ["Content-Length: 20", "Content-Length: 21"],
        ["Content-Length: 20, 20"],
        ["Content-Length: +20"],
        ["Content-Length: -1"],
        ["Content-Length: 0x14"],
        ["Content-Length : 20"],
        ["Content-Length: 2 0"],
        ["Content-Length: 99999999999999999999999"],
        ["Content-Length:"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["X: y\nTransfer-Encoding: chunked"],
    ],
    ids=" | ".join,
)
def test_a_request_with_ambiguous_framing_is_refused(
    caller: Caller, connection: RawConnection, headers: list[str]
) -> None:
    connection.send(smuggled(caller, *headers))
    assert connection.receive().error == (400, "INVALID_REQUEST")
    assert connection.rest() == b""
    assert caller.list().json == []


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"-1\r\n", b"14;\n" + BODY, b"14\r\n" + BODY + b"0\r\n", b"ffffffffffffffffff\r\n"]
)
def test_an_invalid_chunk_is_400_and_changes_nothing(caller: Caller, connection: RawConnection, chunks: bytes) -> None:
    connection.send(encode_request(caller, "POST", Transfer_Encoding="chunked"), chunks, b"\r\n" * 10)
    response = connection.receive()
    assert response.error == (400, "INVALID_REQUEST")
    assert connection.rest() == b""
    assert caller.list().json == []


def _arrivals(head_and_body: bytes, trailers: bytes) -> dict[str, list[bytes]]:
    whole = head_and_body + trailers
    return {
        "at once": [whole],
        "trailers apart": [head_and_body, trailers],
        "in two": [whole[:-8], whole[-8:]],
        "byte by byte": [bytes([byte]) for byte in whole],
    }


ARRIVALS = list(_arrivals(b"", b""))


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_a_token_in_a_trailer_does_not_authenticate(caller: Caller, connection: RawConnection, arrival: str) -> None:
    trailers = f"0\r\nAuthorization: Bearer {caller.token}\r\n\r\n".encode()
    request = head("POST", caller.sessions, {"Transfer-Encoding": "chunked"}) + b"14\r\n%b\r\n" % BODY
    for part in _arrivals(request, trailers)[arrival]:
        connection.send(part)
    assert connection.receive().error == (401, "UNAUTHENTICATED")
    connection.send(encode_request(caller))
    assert connection.receive().json == [], "nothing was changed, and the next request is served"


@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize(
    "trailer",
    [
        "Idempotency-Key: one",
        'If-Match: "99"',
        "Content-Type: text/plain",
        "X-Request-Id: trailer",
        "Expect: 100-continue",
    ],
)
def test_a_trailer_is_not_a_header(caller: Caller, connection: RawConnection, arrival: str, trailer: str) -> None:
    request = encode_request(caller, "POST", Transfer_Encoding="chunked") + b"14\r\n%b\r\n" % BODY
    for _ in range(2):
        for part in _arrivals(request, f"0\r\n{trailer}\r\n\r\n".encode())[arrival]:
            connection.send(part)
        response = connection.receive()
        assert response.status == 201
        assert response.headers["x-request-id"] != "trailer"
        assert "idempotent-replayed" not in response.headers
    assert len(caller.list().json) == 2


def test_trailers_beyond_8_kib_are_refused_however_they_arrive(caller: Caller) -> None:
    request = encode_request(caller, "POST", Transfer_Encoding="chunked") + b"14\r\n%b\r\n0\r\n" % BODY
    few, many = b"X-Filler: yyyy\r\n" * 500, b"X-Filler: yyyy\r\n" * 800
    with RawConnection(caller.port) as connection:
        connection.send(request, few, b"\r\n")
        assert connection.receive().status == 201
    for parts in ([request + many], [request, *[many[at : at + 100] for at in range(0, len(many), 100)]]):
        with RawConnection(caller.port) as connection:
            connection.send_until_closed(parts)
            assert connection.receive().error == (400, "INVALID_REQUEST")
            assert connection.rest() == b""
    assert len(caller.list().json) == 1


def test_pipelined_requests_are_answered_in_order_however_they_arrive(caller: Caller) -> None:
    bodies = [b'{"userId":"%b"}' % (b"u" * length) for length in (1, 50, 200)]
    whole = b"".join(
        encode_request(caller, "POST", body=body)
        + encode_request(caller, "POST", Transfer_Encoding="chunked")
        + b"".join(chunked(body, 7))
        + encode_request(caller, "GET", "?limit=100")
        for body in bodies * 3
    )
    for size in (97, 1_000, 1_025, 5_000, len(whole)):
        before = len(caller.list("?limit=100").json)
        with RawConnection(caller.port) as connection:
            for at in range(0, len(whole), size):
                connection.send(whole[at : at + size])
            connection.end()
            responses = [connection.receive() for _ in range(27)]
            assert [response.status for response in responses] == [201, 201, 200] * 9
            counts = [len(response.json) for response in responses[2::3]]
            assert counts == [min(100, before + 2 * number) for number in range(1, 10)]
            assert connection.rest() == b""


def test_a_client_that_closes_in_a_pipelined_request_gets_the_earlier_responses(caller: Caller) -> None:
    for last in (b"GET / HT", encode_request(caller, "POST", body=BODY)[:-1]):
        with RawConnection(caller.port) as connection:
            connection.send(encode_request(caller), encode_request(caller), last)
            connection.end()
            assert [connection.receive().json, connection.receive().json] == [[], []]
            assert connection.rest() == b""
    assert caller.list().json == []


def test_pipelined_requests_are_answered_in_order(caller: Caller, connection: RawConnection) -> None:
    session_id = caller.new_session()
    words = [f"word {number}" for number in range(20)]
    bodies = [b'{"newMessages":[{"role":"user","content":"%b"}]}' % word.encode() for word in words]
    connection.send(
        *(
            encode_request(caller, "PUT", f"/{session_id}", body, X_Request_Id=f"r-{number}")
            for number, body in enumerate(bodies)
        ),
        encode_request(caller, "GET", f"/{session_id}"),
        encode_request(caller, "GET", f"/{unknown_id()}"),
        encode_request(caller, "DELETE", f"/{session_id}"),
    )
    for number in range(20):
        response = connection.receive()
        assert response.json["totalMessages"] == number + 1
        assert response.headers["x-request-id"] == f"r-{number}"
    assert [stored["content"] for stored in connection.receive().json["messages"]] == words
    assert [connection.receive().status, connection.receive().status] == [404, 200]


def test_pipelined_requests_in_chunks_and_with_large_bodies_are_answered_in_order(
    caller: Caller, connection: RawConnection
) -> None:
    body = b'{"userId":"someone","initialMessages":[{"role":"user","content":"%b"}]}' % (b"x" * 300_000)
    for _ in range(3):
        connection.send(
            encode_request(caller, "POST", Transfer_Encoding="chunked"), *chunked(body, 10_000), encode_request(caller)
        )
    responses = [connection.receive() for _ in range(6)]
    assert [response.status for response in responses] == [201, 200] * 3
    assert [len(response.json) for response in responses[1::2]] == [1, 2, 3]


@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", b"\x00", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_garbage_after_a_request_does_not_lose_its_response(
    caller: Caller, connection: RawConnection, garbage: bytes
) -> None:
    session_id = caller.new_session(initialMessages=[message()])
    connection.send(encode_request(caller, "DELETE", f"/{session_id}"), garbage)
    assert connection.receive().json == {"message": "Session deleted successfully"}
    assert connection.rest() == b""
    assert caller.get(session_id).status == 404


HOSTS = [
    "here",
    "here:8080",
    "here:",
    "127.0.0.1",
    "[::1]:80",
    "[::1]",
    "xn--bcher-kva.example",
    "a_b.c",
    "",
    "a%20b",
    "a,b",
]
NO_HOSTS = [
    *(
        "a b",
        "a/b",
        "user@here",
        "here:x",
        "[::1",
        "::1",
        "a\tb",
        "here:80:80",
        "h\xe9re",
        "a\x7f",
        "a%",
        "a%2",
        "a%zz",
    ),
    *("here:123456", "[]", "[::::]", "[1.2.3.4]", "[::1]a", "[12345::]"),
]


@pytest.mark.parametrize("host", HOSTS)
def test_any_valid_host_is_accepted(caller: Caller, connection: RawConnection, host: str) -> None:
    connection.send(encode_request(caller).replace(b"Host: here", f"Host: {host}".encode()))
    assert connection.receive().status == 200


@pytest.mark.parametrize(
    "lines",
    [b"", b"Host: here\r\nHost: here\r\n", b"Host: here\r\nhost: there\r\n"]
    + [f"Host: {host}\r\n".encode("latin-1") for host in NO_HOSTS],
)
@pytest.mark.parametrize("path", ["/health/live", None])
def test_a_missing_repeated_or_invalid_host_is_400(
    caller: Caller, connection: RawConnection, lines: bytes, path: str | None
) -> None:
    request = encode_request(caller) if path is None else head("GET", path)
    connection.send(request.replace(b"Host: here\r\n", lines))
    response = connection.receive()
    assert response.error == (400, "INVALID_REQUEST")
    assert response.headers["connection"] == "close"
    assert connection.rest() == b""


@pytest.mark.parametrize("target", ["/health/live#", "/health/live#a", "/health/live?a#b", "/#/health/live"])
def test_a_target_with_a_fragment_is_400(connection: RawConnection, target: str) -> None:
    connection.send(head("GET", target))
    assert connection.receive().error == (400, "INVALID_REQUEST")
    assert connection.rest() == b""


def test_http_1_0_needs_no_host(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: here\r\n", b""))
    assert connection.receive().status == 200


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2", "3.0", "9.9", "0.0"])
def test_another_version_of_http_is_505(caller: Caller, connection: RawConnection, version: str) -> None:
    connection.send(encode_request(caller, "POST", body=BODY).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
    response = connection.receive()
    assert response.error == (505, "HTTP_VERSION_NOT_SUPPORTED")
    assert response.headers["connection"] == "close"
    assert connection.rest() == b""
    assert caller.list().json == []


def test_an_http_2_preface_is_505(connection: RawConnection) -> None:
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert connection.receive().error == (505, "HTTP_VERSION_NOT_SUPPORTED")


@pytest.mark.parametrize("version", ["1", "11.1", "x", "1.x", ""])
def test_an_invalid_version_is_400(caller: Caller, connection: RawConnection, version: str) -> None:
    connection.send(encode_request(caller).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
    assert connection.receive().error == (400, "INVALID_REQUEST")


def test_a_target_in_absolute_form_is_served(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller).replace(b"GET /", b"GET http://elsewhere/"))
    assert connection.receive().json == []
    connection.send(head("OPTIONS", "*"))
    assert connection.receive().status in {400, 404}


def test_the_date_header_is_the_time_of_the_response(connection: RawConnection) -> None:
    for _ in range(30):
        before = int(time.time())
        connection.send(head("GET", "/health/live"))
        dated = parsedate_to_datetime(connection.receive().headers["date"]).timestamp()
        assert before <= dated <= time.time()
        time.sleep(0.05)


def test_garbage_after_several_requests_does_not_lose_their_responses(
    caller: Caller, connection: RawConnection
) -> None:
    connection.send(*[encode_request(caller, "POST", body=BODY)] * 3, b"garbage\r\n\r\n")
    assert [connection.receive().status for _ in range(3)] == [201] * 3
    assert connection.rest() == b""
    assert len(caller.list().json) == 3


def test_requests_after_connection_close_are_not_served(caller: Caller, connection: RawConnection) -> None:
    connection.send(
        encode_request(caller, "POST", body=BODY, Connection="close"), encode_request(caller, "POST", body=BODY)
    )
    response = connection.receive()
    assert (response.status, response.headers["connection"]) == (201, "close")
    assert connection.rest() == b""
    assert len(caller.list().json) == 1


def test_http_1_0_is_served_and_the_connection_is_closed(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert connection.receive().status == 200
    assert connection.rest() == b""


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.2"])
def test_an_upgrade_request_is_served_as_http_with_its_body(
    caller: Caller, connection: RawConnection, protocol: str
) -> None:
    wish = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    headers: dict[str, Any] = {name.replace("-", "_"): value for name, value in wish.items()}
    for _ in range(2):
        connection.send(encode_request(caller, "POST", body=BODY, **headers))
        created = connection.receive()
        assert created.status == 201
        path = f"/{created.json['sessionId']}"
        connection.send(encode_request(caller, "PUT", f"{path}/extend", b'{"additionalMinutes":7}', **headers))
        assert connection.receive().json["message"] == "Session extended by 7 minutes"
        connection.send(encode_request(caller, "GET", path, **headers), encode_request(caller, "GET", path))
        assert connection.receive().json == connection.receive().json
    for byte in encode_request(caller, "POST", body=BODY, **headers):
        connection.send(bytes([byte]))
    assert connection.receive().status == 201


def test_a_client_that_closed_its_sending_side_gets_its_responses(caller: Caller, connection: RawConnection) -> None:
    connection.send(
        encode_request(caller, "POST", body=BODY), encode_request(caller), encode_request(caller, "POST", body=BODY)
    )
    connection.end()
    assert [connection.receive().status for _ in range(3)] == [201, 200, 201]
    assert connection.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"GET /", b"GET / HTTP/1.1\r\nX: "])
def test_a_client_that_closes_in_its_headers_gets_no_response(connection: RawConnection, sent: bytes) -> None:
    connection.send(sent)
    connection.end()
    started = time.monotonic()
    assert connection.rest() == b""
    assert time.monotonic() - started < HEADER_SECONDS


def test_a_client_that_disconnects_in_its_body_changes_nothing(caller: Caller) -> None:
    with RawConnection(caller.port) as connection:
        connection.send(encode_request(caller, "POST", body=BODY)[:-1])
    assert caller.list().json == []


def test_a_head_request_does_not_desynchronise_the_connection(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller, "HEAD"), encode_request(caller, "HEAD", "?limit=0"), encode_request(caller))
    assert connection.receive(bodiless=True).status == 200
    assert connection.receive(bodiless=True).status == 400
    assert connection.receive().json == []
    with pytest.raises(ConnectionClosedError):
        connection.receive()


def test_content_type_and_length_are_sent_once(caller: Caller, connection: RawConnection) -> None:
    connection.send(encode_request(caller, "POST", body=BODY, Content_Type="application/json", Connection="close"))
    response = connection.rest().lower()
    for name in (b"content-type", b"content-length", b"x-request-id", b"date"):
        assert response.count(b"\r\n%b: " % name) == 1
    assert b"\r\nserver: " not in response


@pytest.mark.parametrize("filler", [[b"a: b"] * 1_021, [b"a: b"] * 1_100, [b"a: %b" % (b"x" * 16_000)] * 3])
@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    "wish",
    [b"Upgrade: x\r\nConnection: upgrade", b"Upgrade: x\r\nConnection: Upgrade\r\n" * 2, b"a: b\r\nConnection: close"],
)
def test_a_body_whose_length_is_after_too_many_headers_is_not_a_request(
    caller: Caller, connection: RawConnection, filler: list[bytes], wish: bytes, *, chunks: bool
) -> None:
    session_id = caller.new_session()
    inner = encode_request(caller, "DELETE", f"/{session_id}")
    body = b"".join(chunked(inner)) if chunks else inner
    framing = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: %d" % len(inner)
    start = encode_request(caller, "POST").removesuffix(b"\r\n\r\n")
    connection.send(b"\r\n".join([start, wish.strip(), *filler, framing, b"", body]))
    assert connection.receive().error == (431, "HEADERS_TOO_LARGE")
    with pytest.raises((ConnectionClosedError, ConnectionError)):
        connection.receive()
    assert caller.get(session_id).status == 200


@pytest.mark.parametrize("filler", [[b"a: b"] * 1_021, [b"a: b"] * 1_100, [b"a: %b" % (b"x" * 16_000)] * 3])
@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
def test_the_body_after_too_many_headers_is_skipped_and_the_connection_works(
    caller: Caller, connection: RawConnection, filler: list[bytes], *, chunks: bool
) -> None:
    session_id = caller.new_session()
    inner = encode_request(caller, "DELETE", f"/{session_id}")
    body = b"".join(chunked(inner)) if chunks else inner
    framing = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: %d" % len(inner)
    start = encode_request(caller, "POST").removesuffix(b"\r\n\r\n")
    connection.send(b"\r\n".join([start, b"a: b", b"a: b", *filler, framing, b"", body]), encode_request(caller))
    assert connection.receive().error == (431, "HEADERS_TOO_LARGE")
    assert [session["id"] for session in connection.receive().json] == [session_id]


@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
def test_an_upgrade_request_keeps_all_other_headers(caller: Caller, connection: RawConnection, *, chunks: bool) -> None:
    body = b"".join(chunked(BODY)) if chunks else BODY
    framing = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: %d" % len(BODY)
    start = encode_request(caller, "POST").removesuffix(b"\r\n\r\n")
    wish = [b"Upgrade: x", b"Connection: upgrade", b"upgrade: h2c", b"Connection: HTTP2-Settings"]
    connection.send(b"\r\n".join([start, *wish, *[b"a: b"] * 900, framing, b"", body]), encode_request(caller))
    assert connection.receive().status == 201
    assert connection.receive().status == 200
