"""Reading requests: their headers, and their bodies within the limits of size and time."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator, MutableMapping, Sequence
from itertools import chain
from typing import Any, Final

from sessionary import constants
from sessionary.errors import (
    BodyTooLargeError,
    HeadersTooLargeError,
    QueryTooLongError,
    RequestTimeoutError,
    SessionaryError,
    UnsupportedMediaTypeError,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEADER_OVERHEAD: Final = 4
"""The bytes a header takes on the wire besides its name and value: a colon, a space and a line end."""
_JSON_TYPE: Final = re.compile(
    rb"(?:application/json|[\w.!#$&^+-]+/[\w.!#$&^+-]+\+json)\s*((?:;[^;]*)*)", re.IGNORECASE
)
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,%d}" % constants.REQUEST_ID_LENGTH_MAX)
_PREFER_BYTES_MAX: Final = 1024
# A member of a list: a comma inside quotes does not end it. An unclosed quote extends to the end.
_MEMBER: Final = re.compile(rb'(?:"(?:[^"\\]|\\.)*+"?|[^",])++', re.DOTALL)
_CHARSET: Final = re.compile(rb";\s*charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)


class ClientDisconnectedError(Exception):
    """The client closed the connection before its request was complete."""


class Headers:
    """The headers of a request; the values of a repeated header are joined with a comma (RFC 9110, section 5.3)."""

    __slots__ = ("_headers", "_values")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take headers in the form of ASGI: names in lower case, values unchanged."""
        self._headers: Final = headers
        values = dict(headers)
        self._values: Final = values if len(values) == len(headers) else _joined(headers)

    def get(self, name: bytes) -> bytes | None:
        """Return the value of a header, None if it is absent."""
        return self._values.get(name)

    def count(self) -> int:
        """Return the number of headers; a repeated header counts each time."""
        return len(self._headers)

    def size(self) -> int:
        """Return the number of bytes that all headers took on the wire."""
        return sum(map(len, chain.from_iterable(self._headers))) + _HEADER_OVERHEAD * len(self._headers)


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return {name: b", ".join(repeated) for name, repeated in values.items()}


def get_request_id(headers: Headers, make_request_id: Callable[[], str]) -> str:
    """Return the caller's ``X-Request-Id`` if it has a valid form, else a new id."""
    value = headers.get(b"x-request-id")
    if value is not None and _REQUEST_ID.fullmatch(value):
        return value.decode()
    return make_request_id()


def check_size(headers: Headers, query: bytes) -> None:
    """Check the size of headers and query string; raises HeadersTooLargeError or QueryTooLongError."""
    if headers.count() > constants.HEADERS_MAX:
        raise HeadersTooLargeError(f"There are more than {constants.HEADERS_MAX} headers.")
    if headers.size() > constants.HEADERS_BYTES_MAX:
        raise HeadersTooLargeError(f"The headers together exceed {constants.HEADERS_BYTES_MAX} bytes.")
    if len(query) > constants.QUERY_BYTES_MAX:
        raise QueryTooLongError(f"The query string exceeds {constants.QUERY_BYTES_MAX} bytes.")


def is_strict(headers: Headers) -> bool:
    """Return whether the caller sent ``Prefer: handling=strict`` (RFC 7240), which refuses every unknown name."""
    preferences = headers.get(b"prefer")
    if preferences is None:
        return False
    for member in _MEMBER.findall(preferences[:_PREFER_BYTES_MAX]):
        name, _, value = member.partition(b";")[0].partition(b"=")
        if name.strip().lower() == b"handling":
            # The first of several counts.
            return value.strip().lower() in (b"strict", b'"strict"')
    return False


def check_body_headers(headers: Headers) -> SessionaryError | None:
    """Check length, media type and encodings before a body is read; raises the error if it is certain.

    An empty body may have any type. Where the headers do not say whether the body is empty, the error is returned: it
    is to be raised if the body turns out not to be empty.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > constants.BODY_BYTES_MAX:
        raise _body_too_large()
    error = _media_type_error(headers)
    if error is not None and length is not None and int(length):
        raise error
    return error


def _media_type_error(headers: Headers) -> SessionaryError | None:
    content_type = headers.get(b"content-type")
    if content_type and content_type != b"application/json" and not _is_json(content_type):
        return UnsupportedMediaTypeError()
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
        return UnsupportedMediaTypeError("A body must come without a content encoding.")
    encoding = headers.get(b"transfer-encoding")
    if encoding is not None and encoding.strip().lower() != b"chunked":
        return UnsupportedMediaTypeError("A body must come without a transfer encoding other than chunked.")
    return None


def _is_json(content_type: bytes) -> bool:
    match = _JSON_TYPE.fullmatch(content_type.strip())
    return match is not None and {charset.lower() for charset in _CHARSET.findall(match[1])} <= {b"utf-8", b"utf8"}


async def read_body(receive: Receive, seconds_max: float, error_unless_empty: SessionaryError | None = None) -> bytes:
    """Read a body of at most 8 MiB within ``seconds_max``.

    Raises BodyTooLargeError, RequestTimeoutError or ClientDisconnectedError, and ``error_unless_empty``, if given, as
    soon as there is anything in the body.
    """
    first = await _receive(receive, seconds_max)
    if error_unless_empty is not None:
        first = await _receive_empty(receive, seconds_max, first, error_unless_empty)
    if not first.get("more_body", False):
        return _check_length(bytes(first.get("body", b"")))
    body = bytearray(first.get("body", b""))
    deadline = asyncio.get_running_loop().time() + seconds_max
    more = True
    while more:
        message = await _receive(receive, deadline - asyncio.get_running_loop().time())
        body += message.get("body", b"")
        if len(body) > constants.BODY_BYTES_MAX:
            raise _body_too_large()
        more = message.get("more_body", False)
    return bytes(body)


async def _receive_empty(
    receive: Receive, seconds_max: float, message: MutableMapping[str, Any], error: SessionaryError
) -> MutableMapping[str, Any]:
    """Wait for the end of a body that must be empty; raises ``error`` if it is not."""
    deadline = asyncio.get_running_loop().time() + seconds_max
    while not message.get("body", b""):
        if not message.get("more_body", False):
            return message
        message = await _receive(receive, deadline - asyncio.get_running_loop().time())
    raise error


def _check_length(body: bytes) -> bytes:
    if len(body) > constants.BODY_BYTES_MAX:
        raise _body_too_large()
    return body


async def _receive(receive: Receive, seconds: float) -> MutableMapping[str, Any]:
    message = _receive_nowait(receive)
    if message is None:
        try:
            async with asyncio.timeout(seconds):
                message = await receive()
        except TimeoutError:
            raise RequestTimeoutError from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnectedError
    return message


def _receive_nowait(receive: Receive) -> MutableMapping[str, Any] | None:
    """Return a message that is there already, else None.

    Most bodies are there, and setting a timer for them would cost more than reading them.
    """
    awaitable = receive().__await__()
    try:
        next(awaitable)
    except StopIteration as stop:
        message: MutableMapping[str, Any] = stop.value
        return message
    # Nothing was consumed, so that ``receive`` can be called again, this time with a timer.
    if isinstance(awaitable, Generator):
        awaitable.close()
    return None


def _body_too_large() -> SessionaryError:
    return BodyTooLargeError(f"The body exceeds {constants.BODY_BYTES_MAX} bytes.")
