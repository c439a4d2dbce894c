"""Whatever a server responds, a call returns the declared type or raises a SessionaryError."""

import gzip
import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionary import Client, ResponseValidationError, SessionaryError
from sessionary.client import response_decoding
from tests.client.mock_servers import client_of

_NAMES: Final = st.sampled_from(
    ["id", "sessionId", "messages", "total_messages", "status", "detail", "code", "errors", "message", "metadata", "x"]
)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=8,
)
BODIES: Final = st.one_of(
    VALUES.map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()[:-1]),
    st.binary(max_size=40),
    st.just(b"<html><body>Please log in</body></html>"),
    st.just(b""),
    st.just(b"[" * 2_000),
    st.just(b'{"messages": ["\\ud800"]}'),
    st.just(b'{"total_messages": ' + b"9" * 5_000 + b"}"),
)
HEADERS: Final = st.dictionaries(
    st.sampled_from(["Content-Type", "Location", "Link", "Retry-After", "Date", "ETag", "Allow", "X-Request-Id"]),
    st.sampled_from(
        [
            "application/json",
            "text/html",
            '</x?cursor=c>; rel="next"',
            '<http://[::1>; rel="next"',
            "<;;>,;=,",
            "\xff",
            "9" * 400,
            "Mon, 23 Nov 2026 10:00:30 +9999",
            "Mon, 01 Jan 0001 00:00:00 GMT",
            "sessionary-other",
            "http://a b",
        ]
    ),
    max_size=4,
)


def _calls(client: Client) -> Iterator[Any]:
    yield lambda: client.create_session("u")
    yield client.list_sessions
    yield lambda: client.get_session("s")
    yield lambda: client.update_session("s", tokens_used=1)
    yield lambda: client.extend_session("s")
    yield lambda: client.delete_session("s")
    yield lambda: list(client.iterate_sessions(page_limit=1))[:1]
    yield lambda: list(client.iterate_messages("s"))[:1]


@pytest.mark.parametrize("flavour", ["blocking", "awaitable"])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    status=st.sampled_from([200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 404, 405, 412, 418, 429, 500, 503, 599]),
    body=BODIES,
    headers=HEADERS,
)
def test_any_response_becomes_a_result_or_a_sessionary_error(
    flavour: str, status: int, body: bytes, headers: dict[str, str]
) -> None:
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    count = 0
    raised: list[SessionaryError] = []

    def respond(_: httpx2.Request) -> httpx2.Response:
        nonlocal count
        count += 1
        # A list that never ends is another matter.
        return httpx2.Response(status, headers=sent, content=body) if count < 30 else httpx2.Response(404)

    with client_of(flavour, respond, max_retries=0) as client:
        for call in _calls(client):
            try:
                call()
            except SessionaryError as error:
                raised.append(error)
    assert all(error.response is None or error.response.status_code in {status, 404} for error in raised)


def test_a_response_that_is_too_large_is_not_read_to_its_end(flavour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_decoding, "RESPONSE_BYTES_MAX", 1_000_000)
    bomb = gzip.compress(b" " * 20_000_000)
    for headers, content in (({"Content-Encoding": "gzip"}, bomb), ({}, b" " * 2_000_000)):
        stream: Any = _Counted(content)

        def respond(_: httpx2.Request, stream: Any = stream, headers: Any = headers) -> httpx2.Response:
            return httpx2.Response(200, headers=headers, stream=stream)

        with client_of(flavour, respond) as client, pytest.raises(ResponseValidationError, match="larger"):
            client.get_session("s")
        assert stream.closed


class _Counted(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body in pieces, which tells whether it was closed."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), 1_000):
            yield self._content[start : start + 1_000]

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True
