"""Too much at once: refused before it is read whole, and no more memory is held than one request may cost."""

import gzip
import time
from collections.abc import Iterable, Iterator

import pytest

from sessionary import constants
from tests.harness.server import ServerProcess
from tests.hostile.process_stats import MEBIBYTE, memory_of, reset_peak_of
from tests.http.calling import JSON, Answer, Caller, message
from tests.http.wires import HungUpError, Wire, chunked, head

PIECE = b" " * 65_536
GIBIBYTE = 1024 * MEBIBYTE
ROOM = 40 * MEBIBYTE
"""What a body of 8 MiB may cost while it is read: itself, its copies, and what the allocator rounds up."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own, so that its memory is; the store does not matter to what is refused before it."""
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db", "--body-seconds=5") as server:
        yield server


@pytest.fixture(scope="module")
def operator_token(server: ServerProcess) -> str:
    return server.create_token(all_organisations=True)


@pytest.fixture
def api(server: ServerProcess, operator_token: str) -> Iterator[Caller]:
    with Caller(server.port, operator_token, "demo") as api:
        yield api


class Flood:
    """Sends a request with far more behind it, and counts what the server took before it hung up."""

    def __init__(self, api: Caller, beginning: bytes, pieces: Iterable[bytes]) -> None:
        self.sent = 0
        with Wire(api.port) as wire:
            wire.send(beginning)
            wire.send_while_heard(self._counted(pieces))
            try:
                self.response: Answer | None = wire.receive()
            except (HungUpError, ConnectionError):
                self.response = None

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self.sent += len(piece)


def bearing(api: Caller, **headers: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"Authorization": f"Bearer {api.token}", **JSON, **named}


@pytest.mark.parametrize("way", ["declared", "in chunks"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_of_a_gibibyte_is_refused_long_before_it_is_read(
    server: ServerProcess, api: Caller, way: str, method: str
) -> None:
    path = api.sessions if method == "POST" else f"{api.sessions}/{api.begin()}"
    reset_peak_of(server.pid)
    before = memory_of(server.pid)
    declared = {"Content_Length": str(GIBIBYTE)} if way == "declared" else {"Transfer_Encoding": "chunked"}
    piece = PIECE if way == "declared" else b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    flood = Flood(api, head(method, path, bearing(api, **declared)), [piece] * (GIBIBYTE // len(PIECE)))

    most = constants.BODY_BYTES_MAX + constants.REFUSED_BYTES_READ_MAX
    # What both kernels hold of what was sent comes on top.
    assert flood.sent < most + 16 * MEBIBYTE
    assert memory_of(server.pid, "VmHWM") - before < ROOM
    assert api.list().status == 200


def test_a_refusal_of_a_declared_body_comes_before_any_of_it(api: Caller) -> None:
    with Wire(api.port) as wire:
        wire.send(head("POST", api.sessions, bearing(api, Content_Length=str(GIBIBYTE))))
        assert wire.receive().refusal == (413, "BODY_TOO_LARGE")


def test_a_compressed_bomb_is_refused_unread(server: ServerProcess, api: Caller) -> None:
    bomb = gzip.compress(b'{"userId":"' + b"x" * (64 * MEBIBYTE) + b'"}')
    reset_peak_of(server.pid)
    before = memory_of(server.pid)
    for coding in ("gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"):
        with Wire(api.port) as wire:
            wire.send(head("POST", api.sessions, bearing(api, Content_Encoding=coding, Content_Length="70000")))
            assert wire.receive().refusal == (415, "UNSUPPORTED_MEDIA_TYPE"), "before any of it was sent"
            wire.send(bomb)
    assert api.send("POST", api.sessions, bomb, JSON).refusal == (400, "INVALID_JSON")
    with Wire(api.port) as wire:
        wire.send(head("POST", api.sessions, bearing(api, Transfer_Encoding="gzip, chunked")), *chunked(bomb))
        assert wire.receive().refusal == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert memory_of(server.pid, "VmHWM") - before < ROOM


@pytest.mark.parametrize("size", [64 * 1024, 200 * 1024, 100 * MEBIBYTE])
def test_headers_of_any_size_beyond_the_bound_are_refused(server: ServerProcess, api: Caller, size: int) -> None:
    reset_peak_of(server.pid)
    before = memory_of(server.pid)
    beginning = head("GET", api.sessions, bearing(api))[:-2]
    lines = (b"X-Filler-%d: %b\r\n" % (number, b"x" * 1_000) for number in range(size // 1_000))
    flood = Flood(api, beginning, [*lines, b"\r\n"])

    assert flood.sent < 16 * MEBIBYTE
    if flood.response is not None:
        assert flood.response.refusal == (431, "HEADERS_TOO_LARGE")
    else:
        assert size > MEBIBYTE, "what fits into a kernel's buffer gets its answer"
    assert memory_of(server.pid, "VmHWM") - before < ROOM


def test_ten_thousand_query_parameters_are_refused(api: Caller) -> None:
    session_id = api.begin()
    queries = [
        "?" + "&".join(f"p{number}=1" for number in range(10_000)),
        "?" + "&" * 10_000,
        "?" + "limit=1&" * 10_000,
    ]
    for query in queries:
        assert api.list(query).refusal == (414, "QUERY_TOO_LONG")
        assert api.get(session_id, query).refusal == (414, "QUERY_TOO_LONG")
        assert api.send("POST", api.sessions + query, b"{}", JSON).refusal == (414, "QUERY_TOO_LONG")
    started = time.monotonic()
    assert api.list("?" + "&a" * 4_000).status == 200
    assert api.list("?" + "&limit=1" * 1_000).refusal == (400, "INVALID_PARAMETER")
    assert time.monotonic() - started < 1.0


def test_an_update_of_a_million_messages_is_refused_before_it_is_read_whole(server: ServerProcess, api: Caller) -> None:
    session_id = api.begin()
    # 90 MB together: far more than a refused body may go on, and the buffers of the kernel beside it.
    one = b'{"role":"user","content":"%b"},' % (b"x" * 60)
    thousand = b"%x\r\n%b\r\n" % (len(one) * 1_000, one * 1_000)
    reset_peak_of(server.pid)
    before = memory_of(server.pid)
    beginning = head("PUT", f"{api.sessions}/{session_id}", bearing(api, Transfer_Encoding="chunked"))
    flood = Flood(api, beginning, [b'10\r\n{"newMessages":[\r\n', *[thousand] * 1_000, b"2\r\n]}\r\n0\r\n\r\n"])

    assert flood.sent < 1_000 * len(thousand), "it was not taken whole"
    assert memory_of(server.pid, "VmHWM") - before < ROOM
    assert api.read(session_id)["messages"] == []


def whole(begin: bytes, unit: bytes, end: bytes) -> bytes:
    """Fill a body that is just not too large."""
    count = (constants.BODY_BYTES_MAX - len(begin) - len(end)) // len(unit)
    return (begin + unit * count)[:-1] + end


@pytest.mark.parametrize(
    ("begin", "unit", "end"),
    [
        (b'{"newMessages":[', b'{"role":"user","content":""},', b"]}"),
        (b'{"newMessages":[', b"{},", b"]}"),
        (b'{"newMessages":[{"role":"user","content":[', b"{},", b"]}]}"),
        (b'{"metadata":{"a":[', b"[],", b"]}}"),
    ],
)
def test_a_body_of_millions_of_values_costs_what_one_request_may_and_no_more(
    server: ServerProcess, api: Caller, begin: bytes, unit: bytes, end: bytes
) -> None:
    session_id = api.begin()
    body = whole(begin, unit, end)
    reset_peak_of(server.pid)
    before = memory_of(server.pid)
    for _ in range(3):
        assert api.update_raw(session_id, body).status == 400
    # Bodies are read one after another, so this is what all callers together can make of it.
    assert memory_of(server.pid, "VmHWM") - before < 2 * ROOM
    assert memory_of(server.pid) - before < 60 * MEBIBYTE, "it is given back"
    assert api.update(session_id, newMessages=[message()]).status == 200
