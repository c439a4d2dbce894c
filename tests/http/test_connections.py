"""What a connection may do: slowly, too often, too much at once, or in a form that two readers would part differently."""

import contextlib
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.harness.server import ServerProcess
from tests.harness.waiting import poll
from tests.http.calling import Caller, message, unknown_id
from tests.http.wires import HungUpError, Wire, chunked, head

HEADER_SECONDS = 0.6
BODY_SECONDS = 1.0
IDLE_SECONDS = 1.4
CONNECTIONS = 12
BODY = b'{"userId":"someone"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with little patience; the store does not matter here."""
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


@pytest.fixture
def wire(caller: Caller) -> Iterator[Wire]:
    with Wire(caller.port) as wire:
        yield wire


def asked(caller: Caller, method: str = "GET", path: str = "", body: bytes = b"", **headers: str) -> bytes:
    """Spell a request of this caller's, with a length if it has a body."""
    length = {"Content-Length": str(len(body))} if body else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head(method, caller.sessions + path, {"Authorization": f"Bearer {caller.token}", **length, **named}) + body


def test_headers_that_do_not_arrive_in_time_are_408(caller: Caller, wire: Wire) -> None:
    started = time.monotonic()
    wire.send(b"GET /api HTTP/1.1\r\nX-Request-Id: slow-1\r\nX-Slow: ")
    answer = wire.receive()
    assert answer.refusal == (408, "REQUEST_TIMEOUT")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"] == "slow-1"
    assert wire.rest() == b""
    assert HEADER_SECONDS * 0.9 < time.monotonic() - started < HEADER_SECONDS + 5
    assert caller.list().status == 200


def test_headers_that_trickle_are_408_all_the_same(wire: Wire) -> None:
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        for byte in b"GET /api HTTP/1.1\r\nX-Slow: " + b"x" * 200:
            wire.send(bytes([byte]))
            time.sleep(0.02)
            if time.monotonic() - started > HEADER_SECONDS + 1:
                break
    assert wire.rest().startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_says_nothing_is_closed(wire: Wire) -> None:
    assert wire.rest().startswith(b"HTTP/1.1 408 ")


def test_headers_that_do_not_follow_an_answer_in_time_are_408(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller))
    assert wire.receive().status == 200
    wire.send(asked(caller)[:-10])
    assert wire.receive().refusal == (408, "REQUEST_TIMEOUT")
    assert wire.rest() == b""


def test_a_connection_is_kept_while_it_is_used_and_closed_when_idle(caller: Caller, wire: Wire) -> None:
    for _ in range(4):
        time.sleep(HEADER_SECONDS * 0.7)
        wire.send(asked(caller))
        assert wire.receive().status == 200
    started = time.monotonic()
    assert wire.rest() == b""
    assert IDLE_SECONDS * 0.9 < time.monotonic() - started < IDLE_SECONDS + 5


def test_line_ends_between_requests_do_not_hold_a_connection(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller))
    assert wire.receive().status == 200
    for _ in range(3):
        wire.send(b"\r\n")
        time.sleep(0.1)
    assert wire.rest() == b""


def test_a_body_that_does_not_arrive_in_time_is_408_and_the_connection_is_closed(caller: Caller, wire: Wire) -> None:
    whole = asked(caller, "POST", body=BODY, X_Request_Id="slow-2")
    started = time.monotonic()
    wire.send(whole[:-1])
    answer = wire.receive()
    assert answer.refusal == (408, "REQUEST_TIMEOUT")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"] == "slow-2"
    assert wire.rest() == b""
    assert BODY_SECONDS * 0.9 < time.monotonic() - started < BODY_SECONDS + 5
    assert caller.list().json == []


def test_a_body_that_trickles_is_408_all_the_same(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller, "POST", Transfer_Encoding="chunked"))
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - started < BODY_SECONDS + 1:
            wire.send(b"1\r\n \r\n")
            time.sleep(0.05)
    assert wire.rest().startswith(b"HTTP/1.1 408 ")


def test_the_rest_of_a_refused_body_is_not_awaited_for_ever(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller, "POST", Content_Length="9000000"))
    assert wire.receive().refusal == (413, "BODY_TOO_LARGE")
    wire.send(b"x" * 1_000)
    assert wire.rest() == b""


def test_after_the_rest_of_a_refused_body_the_connection_is_as_idle_as_any(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller, "POST", Content_Length="9000000"))
    assert wire.receive().status == 413
    wire.send(b"x" * 9_000_000)
    wire.send(asked(caller))
    assert wire.receive().status == 200
    wire.send(asked(caller, "POST", body=BODY, Content_Type="text/plain"))
    assert wire.receive().status == 415
    assert wire.rest() == b""


def test_a_header_section_that_never_ends_is_431(caller: Caller) -> None:
    fillers = (b"X-Filler-%d: %b\r\n" % (number, b"x" * 1_000) for number in range(2_000))
    with Wire(caller.port) as wire:
        wire.send_while_heard([b"GET /api HTTP/1.1\r\nHost: here\r\n", *fillers])
        answer = wire.receive()
        assert answer.refusal == (431, "HEADERS_TOO_LARGE")
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("start", "refusal"),
    [
        (b"GET /", (414, "QUERY_TOO_LONG")),
        (b"GET /?", (414, "QUERY_TOO_LONG")),
        (b"GET / HTTP/1.1\r\nX-Filler: ", (431, "HEADERS_TOO_LARGE")),
        (b"GET / HTTP/1.1\r\n", (431, "HEADERS_TOO_LARGE")),
    ],
)
def test_one_line_that_never_ends_is_refused(caller: Caller, start: bytes, refusal: tuple[int, str]) -> None:
    with Wire(caller.port) as wire:
        wire.send_while_heard([start, *[b"x" * 10_000] * 100])
        assert wire.receive().refusal == refusal


def test_connections_beyond_the_bound_are_503_and_others_go_on(caller: Caller) -> None:
    assert caller.list().status == 200
    with contextlib.ExitStack() as opened:
        wires = [opened.enter_context(Wire(caller.port)) for _ in range(CONNECTIONS + 3)]
        refused = [wire.receive() for wire in wires[-3:]]
        for answer in refused:
            assert answer.refusal == (503, "OVERLOADED")
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["connection"] == "close"
        assert caller.list().status == 200
        wires[0].send(asked(caller))
        assert wires[0].receive().status == 200
    poll(lambda: _is_served(caller), "room for a connection")


def _is_served(caller: Caller) -> bool:
    with Wire(caller.port) as wire:
        wire.send(asked(caller))
        return wire.receive().status == 200


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
def test_what_is_no_http_is_400_and_the_connection_is_closed(wire: Wire, garbage: bytes) -> None:
    wire.send(garbage)
    answer = wire.receive()
    assert answer.refusal == (400, "INVALID_REQUEST")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]
    assert answer.headers["date"]
    assert wire.rest() == b""


def smuggled(caller: Caller, *headers: str) -> bytes:
    """Spell a request whose body one reader would end elsewhere than another, and hide a second one behind it."""
    hidden = asked(caller, "POST", body=b'{"userId":"smuggled"}')
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
def test_a_request_that_two_readers_would_part_differently_is_refused_whole(
    caller: Caller, wire: Wire, headers: list[str]
) -> None:
    wire.send(smuggled(caller, *headers))
    assert wire.receive().refusal == (400, "INVALID_REQUEST")
    assert wire.rest() == b""
    assert caller.list().json == []


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"-1\r\n", b"14;\n" + BODY, b"14\r\n" + BODY + b"0\r\n", b"ffffffffffffffffff\r\n"]
)
def test_a_chunk_that_is_none_is_400_and_nothing_happens(caller: Caller, wire: Wire, chunks: bytes) -> None:
    wire.send(asked(caller, "POST", Transfer_Encoding="chunked"), chunks, b"\r\n" * 10)
    answer = wire.receive()
    assert answer.refusal == (400, "INVALID_REQUEST")
    assert wire.rest() == b""
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
def test_a_token_in_a_trailer_lets_nobody_in(caller: Caller, wire: Wire, arrival: str) -> None:
    trailers = f"0\r\nAuthorization: Bearer {caller.token}\r\n\r\n".encode()
    request = head("POST", caller.sessions, {"Transfer-Encoding": "chunked"}) + b"14\r\n%b\r\n" % BODY
    for part in _arrivals(request, trailers)[arrival]:
        wire.send(part)
    assert wire.receive().refusal == (401, "UNAUTHENTICATED")
    wire.send(asked(caller))
    assert wire.receive().json == [], "nothing was done, and what follows is read as it should"


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
def test_a_trailer_is_no_header(caller: Caller, wire: Wire, arrival: str, trailer: str) -> None:
    request = asked(caller, "POST", Transfer_Encoding="chunked") + b"14\r\n%b\r\n" % BODY
    for _ in range(2):
        for part in _arrivals(request, f"0\r\n{trailer}\r\n\r\n".encode())[arrival]:
            wire.send(part)
        answer = wire.receive()
        assert answer.status == 201
        assert answer.headers["x-request-id"] != "trailer"
        assert "idempotent-replayed" not in answer.headers
    assert len(caller.list().json) == 2


def test_trailers_beyond_8_kib_are_refused_however_they_arrive(caller: Caller) -> None:
    request = asked(caller, "POST", Transfer_Encoding="chunked") + b"14\r\n%b\r\n0\r\n" % BODY
    few, many = b"X-Filler: yyyy\r\n" * 500, b"X-Filler: yyyy\r\n" * 800
    with Wire(caller.port) as wire:
        wire.send(request, few, b"\r\n")
        assert wire.receive().status == 201
    for parts in ([request + many], [request, *[many[at : at + 100] for at in range(0, len(many), 100)]]):
        with Wire(caller.port) as wire:
            wire.send_while_heard(parts)
            assert wire.receive().refusal == (400, "INVALID_REQUEST")
            assert wire.rest() == b""
    assert len(caller.list().json) == 1


def test_pipelined_requests_are_answered_in_order_however_they_arrive(caller: Caller) -> None:
    bodies = [b'{"userId":"%b"}' % (b"u" * length) for length in (1, 50, 200)]
    whole = b"".join(
        asked(caller, "POST", body=body)
        + asked(caller, "POST", Transfer_Encoding="chunked")
        + b"".join(chunked(body, 7))
        + asked(caller, "GET", "?limit=100")
        for body in bodies * 3
    )
    for size in (97, 1_000, 1_025, 5_000, len(whole)):
        before = len(caller.list("?limit=100").json)
        with Wire(caller.port) as wire:
            for at in range(0, len(whole), size):
                wire.send(whole[at : at + size])
            wire.end()
            answers = [wire.receive() for _ in range(27)]
            assert [answer.status for answer in answers] == [201, 201, 200] * 9
            counts = [len(answer.json) for answer in answers[2::3]]
            assert counts == [min(100, before + 2 * number) for number in range(1, 10)]
            assert wire.rest() == b""


def test_a_caller_that_ends_in_a_pipelined_request_gets_the_answers_to_those_before(caller: Caller) -> None:
    for last in (b"GET / HT", asked(caller, "POST", body=BODY)[:-1]):
        with Wire(caller.port) as wire:
            wire.send(asked(caller), asked(caller), last)
            wire.end()
            assert [wire.receive().json, wire.receive().json] == [[], []]
            assert wire.rest() == b""
    assert caller.list().json == []


def test_pipelined_requests_are_answered_in_order(caller: Caller, wire: Wire) -> None:
    session_id = caller.begin()
    words = [f"word {number}" for number in range(20)]
    bodies = [b'{"newMessages":[{"role":"user","content":"%b"}]}' % word.encode() for word in words]
    wire.send(
        *(
            asked(caller, "PUT", f"/{session_id}", body, X_Request_Id=f"r-{number}")
            for number, body in enumerate(bodies)
        ),
        asked(caller, "GET", f"/{session_id}"),
        asked(caller, "GET", f"/{unknown_id()}"),
        asked(caller, "DELETE", f"/{session_id}"),
    )
    for number in range(20):
        answer = wire.receive()
        assert answer.json["totalMessages"] == number + 1
        assert answer.headers["x-request-id"] == f"r-{number}"
    assert [spoken["content"] for spoken in wire.receive().json["messages"]] == words
    assert [wire.receive().status, wire.receive().status] == [404, 200]


def test_pipelined_requests_in_chunks_and_with_large_bodies_are_answered_in_order(caller: Caller, wire: Wire) -> None:
    body = b'{"userId":"someone","initialMessages":[{"role":"user","content":"%b"}]}' % (b"x" * 300_000)
    for _ in range(3):
        wire.send(asked(caller, "POST", Transfer_Encoding="chunked"), *chunked(body, 10_000), asked(caller))
    answers = [wire.receive() for _ in range(6)]
    assert [answer.status for answer in answers] == [201, 200] * 3
    assert [len(answer.json) for answer in answers[1::2]] == [1, 2, 3]


@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", b"\x00", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_garbage_behind_a_request_does_not_take_its_answer(caller: Caller, wire: Wire, garbage: bytes) -> None:
    session_id = caller.begin(initialMessages=[message()])
    wire.send(asked(caller, "DELETE", f"/{session_id}"), garbage)
    assert wire.receive().json == {"message": "Session deleted successfully"}
    assert wire.rest() == b""
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
def test_any_host_is_taken(caller: Caller, wire: Wire, host: str) -> None:
    wire.send(asked(caller).replace(b"Host: here", f"Host: {host}".encode()))
    assert wire.receive().status == 200


@pytest.mark.parametrize(
    "lines",
    [b"", b"Host: here\r\nHost: here\r\n", b"Host: here\r\nhost: there\r\n"]
    + [f"Host: {host}\r\n".encode("latin-1") for host in NO_HOSTS],
)
@pytest.mark.parametrize("path", ["/health/live", None])
def test_a_host_that_is_missing_doubled_or_none_is_400(
    caller: Caller, wire: Wire, lines: bytes, path: str | None
) -> None:
    request = asked(caller) if path is None else head("GET", path)
    wire.send(request.replace(b"Host: here\r\n", lines))
    answer = wire.receive()
    assert answer.refusal == (400, "INVALID_REQUEST")
    assert answer.headers["connection"] == "close"
    assert wire.rest() == b""


@pytest.mark.parametrize("target", ["/health/live#", "/health/live#a", "/health/live?a#b", "/#/health/live"])
def test_a_target_with_a_fragment_is_400(wire: Wire, target: str) -> None:
    wire.send(head("GET", target))
    assert wire.receive().refusal == (400, "INVALID_REQUEST")
    assert wire.rest() == b""


def test_http_1_0_needs_no_host(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: here\r\n", b""))
    assert wire.receive().status == 200


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2", "3.0", "9.9", "0.0"])
def test_another_version_of_http_is_505(caller: Caller, wire: Wire, version: str) -> None:
    wire.send(asked(caller, "POST", body=BODY).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
    answer = wire.receive()
    assert answer.refusal == (505, "HTTP_VERSION_NOT_SUPPORTED")
    assert answer.headers["connection"] == "close"
    assert wire.rest() == b""
    assert caller.list().json == []


def test_the_beginning_of_http_2_is_505(wire: Wire) -> None:
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert wire.receive().refusal == (505, "HTTP_VERSION_NOT_SUPPORTED")


@pytest.mark.parametrize("version", ["1", "11.1", "x", "1.x", ""])
def test_what_is_no_version_is_400(caller: Caller, wire: Wire, version: str) -> None:
    wire.send(asked(caller).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
    assert wire.receive().refusal == (400, "INVALID_REQUEST")


def test_the_form_of_a_proxys_request_is_answered_like_any_other(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller).replace(b"GET /", b"GET http://elsewhere/"))
    assert wire.receive().json == []
    wire.send(head("OPTIONS", "*"))
    assert wire.receive().status in {400, 404}


def test_the_date_is_that_of_the_answer(wire: Wire) -> None:
    for _ in range(30):
        before = int(time.time())
        wire.send(head("GET", "/health/live"))
        dated = parsedate_to_datetime(wire.receive().headers["date"]).timestamp()
        assert before <= dated <= time.time()
        time.sleep(0.05)


def test_garbage_behind_several_requests_takes_no_answer(caller: Caller, wire: Wire) -> None:
    wire.send(*[asked(caller, "POST", body=BODY)] * 3, b"garbage\r\n\r\n")
    assert [wire.receive().status for _ in range(3)] == [201] * 3
    assert wire.rest() == b""
    assert len(caller.list().json) == 3


def test_requests_behind_connection_close_are_not_answered(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller, "POST", body=BODY, Connection="close"), asked(caller, "POST", body=BODY))
    answer = wire.receive()
    assert (answer.status, answer.headers["connection"]) == (201, "close")
    assert wire.rest() == b""
    assert len(caller.list().json) == 1


def test_http_1_0_is_answered_and_the_connection_is_closed(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert wire.receive().status == 200
    assert wire.rest() == b""


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.2"])
def test_the_wish_for_another_protocol_is_ignored_with_its_body_read(caller: Caller, wire: Wire, protocol: str) -> None:
    wish = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    headers: dict[str, Any] = {name.replace("-", "_"): value for name, value in wish.items()}
    for _ in range(2):
        wire.send(asked(caller, "POST", body=BODY, **headers))
        created = wire.receive()
        assert created.status == 201
        path = f"/{created.json['sessionId']}"
        wire.send(asked(caller, "PUT", f"{path}/extend", b'{"additionalMinutes":7}', **headers))
        assert wire.receive().json["message"] == "Session extended by 7 minutes"
        wire.send(asked(caller, "GET", path, **headers), asked(caller, "GET", path))
        assert wire.receive().json == wire.receive().json
    for byte in asked(caller, "POST", body=BODY, **headers):
        wire.send(bytes([byte]))
    assert wire.receive().status == 201


def test_a_caller_that_will_ask_no_more_still_gets_its_answers(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller, "POST", body=BODY), asked(caller), asked(caller, "POST", body=BODY))
    wire.end()
    assert [wire.receive().status for _ in range(3)] == [201, 200, 201]
    assert wire.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"GET /", b"GET / HTTP/1.1\r\nX: "])
def test_a_caller_that_ends_in_its_headers_gets_no_answer(wire: Wire, sent: bytes) -> None:
    wire.send(sent)
    wire.end()
    started = time.monotonic()
    assert wire.rest() == b""
    assert time.monotonic() - started < HEADER_SECONDS


def test_a_caller_that_hangs_up_in_its_body_changes_nothing(caller: Caller) -> None:
    with Wire(caller.port) as wire:
        wire.send(asked(caller, "POST", body=BODY)[:-1])
    assert caller.list().json == []


def test_a_bodiless_head_leaves_the_connection_in_step(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller, "HEAD"), asked(caller, "HEAD", "?limit=0"), asked(caller))
    assert wire.receive(bodiless=True).status == 200
    assert wire.receive(bodiless=True).status == 400
    assert wire.receive().json == []
    with pytest.raises(HungUpError):
        wire.receive()


def test_content_type_and_length_are_said_once(caller: Caller, wire: Wire) -> None:
    wire.send(asked(caller, "POST", body=BODY, Content_Type="application/json", Connection="close"))
    answer = wire.rest().lower()
    for name in (b"content-type", b"content-length", b"x-request-id", b"date"):
        assert answer.count(b"\r\n%b: " % name) == 1
    assert b"\r\nserver: " not in answer


@pytest.mark.parametrize("filler", [[b"a: b"] * 1_021, [b"a: b"] * 1_100, [b"a: %b" % (b"x" * 16_000)] * 3])
@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    "wish",
    [b"Upgrade: x\r\nConnection: upgrade", b"Upgrade: x\r\nConnection: Upgrade\r\n" * 2, b"a: b\r\nConnection: close"],
)
def test_a_body_is_no_request_where_its_length_stands_behind_too_many_headers(
    caller: Caller, wire: Wire, filler: list[bytes], wish: bytes, *, chunks: bool
) -> None:
    session_id = caller.begin()
    inner = asked(caller, "DELETE", f"/{session_id}")
    body = b"".join(chunked(inner)) if chunks else inner
    framing = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: %d" % len(inner)
    start = asked(caller, "POST").removesuffix(b"\r\n\r\n")
    wire.send(b"\r\n".join([start, wish.strip(), *filler, framing, b"", body]))
    assert wire.receive().refusal == (431, "HEADERS_TOO_LARGE")
    with pytest.raises((HungUpError, ConnectionError)):
        wire.receive()
    assert caller.get(session_id).status == 200


@pytest.mark.parametrize("filler", [[b"a: b"] * 1_021, [b"a: b"] * 1_100, [b"a: %b" % (b"x" * 16_000)] * 3])
@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
def test_the_body_behind_too_many_headers_is_read_past_and_the_connection_goes_on(
    caller: Caller, wire: Wire, filler: list[bytes], *, chunks: bool
) -> None:
    session_id = caller.begin()
    inner = asked(caller, "DELETE", f"/{session_id}")
    body = b"".join(chunked(inner)) if chunks else inner
    framing = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: %d" % len(inner)
    start = asked(caller, "POST").removesuffix(b"\r\n\r\n")
    wire.send(b"\r\n".join([start, b"a: b", b"a: b", *filler, framing, b"", body]), asked(caller))
    assert wire.receive().refusal == (431, "HEADERS_TOO_LARGE")
    assert [session["id"] for session in wire.receive().json] == [session_id]


@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
def test_a_wish_for_another_protocol_leaves_every_other_header(caller: Caller, wire: Wire, *, chunks: bool) -> None:
    body = b"".join(chunked(BODY)) if chunks else BODY
    framing = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: %d" % len(BODY)
    start = asked(caller, "POST").removesuffix(b"\r\n\r\n")
    wish = [b"Upgrade: x", b"Connection: upgrade", b"upgrade: h2c", b"Connection: HTTP2-Settings"]
    wire.send(b"\r\n".join([start, *wish, *[b"a: b"] * 900, framing, b"", body]), asked(caller))
    assert wire.receive().status == 201
    assert wire.receive().status == 200
