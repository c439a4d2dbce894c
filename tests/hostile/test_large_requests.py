"""Requests that are too large are refused before they are read completely, and take bounded memory."""

import gzip
import time
from collections.abc import Iterable, Iterator

import pytest

from sessionary import constants
from tests.harness.server import ServerProcess
from tests.hostile.process_stats import MEBIBYTE, memory_bytes, reset_memory_peak
from tests.http.callers import JSON, Caller, Response, message
from tests.http.raw_connection import ConnectionClosedError, RawConnection, chunked, head

PIECE = b" " * 65_536
GIBIBYTE = 1024 * MEBIBYTE
ROOM = 40 * MEBIBYTE
"""What a body of 8 MiB may take while it is read: itself, its copies, and the overhead of the allocator."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for this module only, so that its memory can be measured; the store does not matter here."""
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db", "--body-seconds=5") as server:
        yield server


@pytest.fixture(scope="module")
def operator_token(server: ServerProcess) -> str:
    return server.create_token(all_organisations=True)


@pytest.fixture
def api(server: ServerProcess, operator_token: str) -> Iterator[Caller]:
    with Caller(server.port, operator_token, "demo") as api:
        yield api


class OversizedUpload:
    """Sends far more than a request may have, and counts what the server reads before it closes the connection."""

    def __init__(self, api: Caller, beginning: bytes, pieces: Iterable[bytes]) -> None:
        self.sent = 0
        with RawConnection(api.port) as wire:
            wire.send(beginning)
            wire.send_until_closed(self._count_pieces(pieces))
            try:
                self.response: Response | None = wire.receive()
            except (ConnectionClosedError, ConnectionError):
                self.response = None

    def _count_pieces(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self.sent += len(piece)


def with_token(api: Caller, **headers: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"Authorization": f"Bearer {api.token}", **JSON, **named}


@pytest.mark.parametrize("way", ["declared", "in chunks"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_of_a_gibibyte_is_refused_after_a_small_part(
    server: ServerProcess, api: Caller, way: str, method: str
) -> None:
    path = api.sessions if method == "POST" else f"{api.sessions}/{api.new_session()}"
    reset_memory_peak(server.pid)
    before = memory_bytes(server.pid)
    declared = {"Content_Length": str(GIBIBYTE)} if way == "declared" else {"Transfer_Encoding": "chunked"}
    piece = PIECE if way == "declared" else b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    flood = OversizedUpload(api, head(method, path, with_token(api, **declared)), [piece] * (GIBIBYTE // len(PIECE)))

    most = constants.BODY_BYTES_MAX + constants.REFUSED_BYTES_READ_MAX
    # The buffers of both kernels are included.
    assert flood.sent < most + 16 * MEBIBYTE
    assert memory_bytes(server.pid, "VmHWM") - before < ROOM
    assert api.list().status == 200


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(api: Caller) -> None:
    with RawConnection(api.port) as wire:
        wire.send(head("POST", api.sessions, with_token(api, Content_Length=str(GIBIBYTE))))
        assert wire.receive().error == (413, "BODY_TOO_LARGE")


def test_a_compressed_body_is_refused_unread(server: ServerProcess, api: Caller) -> None:
    bomb = gzip.compress(b'{"userId":"' + b"x" * (64 * MEBIBYTE) + b'"}')
    reset_memory_peak(server.pid)
    before = memory_bytes(server.pid)
    for coding in ("gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"):
        with RawConnection(api.port) as wire:
            wire.send(head("POST", api.sessions, with_token(api, Content_Encoding=coding, Content_Length="70000")))
            assert wire.receive().error == (415, "UNSUPPORTED_MEDIA_TYPE"), "before any of it was sent"
            wire.send(bomb)
    assert api.send("POST", api.sessions, bomb, JSON).error == (400, "INVALID_JSON")
    with RawConnection(api.port) as wire:
        wire.send(head("POST", api.sessions, with_token(api, Transfer_Encoding="gzip, chunked")), *chunked(bomb))
        assert wire.receive().error == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert memory_bytes(server.pid, "VmHWM") - before < ROOM


@pytest.mark.parametrize("size", [64 * 1024, 200 * 1024, 100 * MEBIBYTE])
def test_headers_beyond_the_limit_are_refused_whatever_their_size(
    server: ServerProcess, api: Caller, size: int
) -> None:
    reset_memory_peak(server.pid)
    before = memory_bytes(server.pid)
    beginning = head("GET", api.sessions, with_token(api))[:-2]
    lines = (b"X-Filler-%d: %b\r\n" % (number, b"x" * 1_000) for number in range(size // 1_000))
    flood = OversizedUpload(api, beginning, [*lines, b"\r\n"])

    assert flood.sent < 16 * MEBIBYTE
    if flood.response is not None:
        assert flood.response.error == (431, "HEADERS_TOO_LARGE")
    else:
        assert size > MEBIBYTE, "what fits into a kernel's buffer gets its answer"
    assert memory_bytes(server.pid, "VmHWM") - before < ROOM


def test_ten_thousand_query_parameters_are_refused(api: Caller) -> None:
    session_id = api.new_session()
    queries = [
        "?" + "&".join(f"p{number}=1" for number in range(10_000)),
        "?" + "&" * 10_000,
        "?" + "limit=1&" * 10_000,
    ]
    for query in queries:
        assert api.list(query).error == (414, "QUERY_TOO_LONG")
        assert api.get(session_id, query).error == (414, "QUERY_TOO_LONG")
        assert api.send("POST", api.sessions + query, b"{}", JSON).error == (414, "QUERY_TOO_LONG")
    started = time.monotonic()
    assert api.list("?" + "&a" * 4_000).status == 200
    assert api.list("?" + "&limit=1" * 1_000).error == (400, "INVALID_PARAMETER")
    assert time.monotonic() - started < 1.0


def test_an_update_of_a_million_messages_is_refused_before_it_is_read_completely(
    server: ServerProcess, api: Caller
) -> None:
    session_id = api.new_session()
    # 90 MB in total: far more than is read of a refused body, including the buffers of the kernel.
    one = b'{"role":"user","content":"%b"},' % (b"x" * 60)
    thousand = b"%x\r\n%b\r\n" % (len(one) * 1_000, one * 1_000)
    reset_memory_peak(server.pid)
    before = memory_bytes(server.pid)
    beginning = head("PUT", f"{api.sessions}/{session_id}", with_token(api, Transfer_Encoding="chunked"))
    flood = OversizedUpload(
        api, beginning, [b'10\r\n{"newMessages":[\r\n', *[thousand] * 1_000, b"2\r\n]}\r\n0\r\n\r\n"]
    )

    assert flood.sent < 1_000 * len(thousand), "it was not taken whole"
    assert memory_bytes(server.pid, "VmHWM") - before < ROOM
    assert api.read(session_id)["messages"] == []


def body_of(begin: bytes, unit: bytes, end: bytes) -> bytes:
    """Return a body that is just within the limit."""
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
def test_concurrent_bodies_of_millions_of_values_take_the_memory_of_one_request(
    server: ServerProcess, api: Caller, begin: bytes, unit: bytes, end: bytes
) -> None:
    session_id = api.new_session()
    body = body_of(begin, unit, end)
    reset_memory_peak(server.pid)
    before = memory_bytes(server.pid)
    for _ in range(3):
        assert api.update_raw(session_id, body).status == 400
    # Bodies are decoded one after another, so this is the maximum for all clients together.
    assert memory_bytes(server.pid, "VmHWM") - before < 2 * ROOM
    assert memory_bytes(server.pid) - before < 60 * MEBIBYTE, "it is given back"
    assert api.update(session_id, newMessages=[message()]).status == 200
