"""What of a request the rules look at: its headers, once, and its body, bounded."""

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
"""A colon, a space and a line end: what a header takes on the wire beside its name and value."""
_JSON_TYPE: Final = re.compile(
    rb"(?:application/json|[\w.!#$&^+-]+/[\w.!#$&^+-]+\+json)\s*((?:;[^;]*)*)", re.IGNORECASE
)
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,%d}" % constants.REQUEST_ID_LENGTH_MAX)
_PREFER_BYTES_MAX: Final = 1024
# A member of a list: a comma inside quotes does not end it. Quotes that are not closed go on to the end.
_MEMBER: Final = re.compile(rb'(?:"(?:[^"\\]|\\.)*+"?|[^",])++', re.DOTALL)
_CHARSET: Final = re.compile(rb";\s*charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)


class ClientDisconnectedError(Exception):
    """The caller hung up before its request was whole."""


class Headers:
    """The headers of a request; of a repeated one the values are joined by a comma, as RFC 9110 has it."""

    __slots__ = ("_headers", "_values")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take headers as ASGI gives them: names in lower case, values as they came."""
        self._headers: Final = headers
        values = dict(headers)
        self._values: Final = values if len(values) == len(headers) else _joined(headers)

    def get(self, name: bytes) -> bytes | None:
        """Read one header, None if it did not come."""
        return self._values.get(name)

    def count(self) -> int:
        """Count the headers, each time a repeated one came."""
        return len(self._headers)

    def size(self) -> int:
        """Count the bytes all headers took on the wire."""
        return sum(map(len, chain.from_iterable(self._headers))) + _HEADER_OVERHEAD * len(self._headers)


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return {name: b", ".join(several) for name, several in values.items()}


def request_id_of(headers: Headers, otherwise: Callable[[], str]) -> str:
    """Take the caller's own name for the request if it is one, else make one."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return otherwise()


def check_size(headers: Headers, query: bytes) -> None:
    """Refuse headers and a query string that are too long."""
    if headers.count() > constants.HEADERS_MAX:
        raise HeadersTooLargeError(f"There are more than {constants.HEADERS_MAX} headers.")
    if headers.size() > constants.HEADERS_BYTES_MAX:
        raise HeadersTooLargeError(f"The headers together exceed {constants.HEADERS_BYTES_MAX} bytes.")
    if len(query) > constants.QUERY_BYTES_MAX:
        raise QueryTooLongError(f"The query string exceeds {constants.QUERY_BYTES_MAX} bytes.")


def is_strict(headers: Headers) -> bool:
    """Say whether the caller prefers that every unknown name is refused: ``Prefer: handling=strict`` (RFC 7240)."""
    given = headers.get(b"prefer")
    if given is None:
        return False
    for member in _MEMBER.findall(given[:_PREFER_BYTES_MAX]):
        name, _, value = member.partition(b";")[0].partition(b"=")
        if name.strip().lower() == b"handling":
            # Of several the first one counts.
            return value.strip().lower() in (b"strict", b'"strict"')
    return False


def check_body_headers(headers: Headers) -> SessionaryError | None:
    """Refuse a body by what its headers say of it, before it is read.

    An empty body has no type. Where the headers do not tell whether it is empty, answers the refusal of one that is
    not.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > constants.BODY_BYTES_MAX:
        raise _body_too_large()
    refusal = _refusal_of_type(headers)
    if refusal is not None and length is not None and int(length):
        raise refusal
    return refusal


def _refusal_of_type(headers: Headers) -> SessionaryError | None:
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
    kind = _JSON_TYPE.fullmatch(content_type.strip())
    return kind is not None and {charset.lower() for charset in _CHARSET.findall(kind[1])} <= {b"utf-8", b"utf8"}


async def read_body(receive: Receive, seconds_max: float, refusal: SessionaryError | None = None) -> bytes:
    """Read a body of at most 8 MiB within ``seconds_max``.

    Raises BodyTooLargeError, RequestTimeoutError or ClientDisconnectedError.

    Raises ``refusal``, if given, as soon as there is anything in the body.
    """
    first = await _receive(receive, seconds_max)
    if refusal is not None:
        first = await _empty(receive, seconds_max, first, refusal)
    if not first.get("more_body", False):
        return _bounded(bytes(first.get("body", b"")))
    body = bytearray(first.get("body", b""))
    ends_at = asyncio.get_running_loop().time() + seconds_max
    more = True
    while more:
        message = await _receive(receive, ends_at - asyncio.get_running_loop().time())
        body += message.get("body", b"")
        if len(body) > constants.BODY_BYTES_MAX:
            raise _body_too_large()
        more = message.get("more_body", False)
    return bytes(body)


async def _empty(
    receive: Receive, seconds_max: float, message: MutableMapping[str, Any], refusal: SessionaryError
) -> MutableMapping[str, Any]:
    """Wait for the end of a body that must be empty."""
    ends_at = asyncio.get_running_loop().time() + seconds_max
    while not message.get("body", b""):
        if not message.get("more_body", False):
            return message
        message = await _receive(receive, ends_at - asyncio.get_running_loop().time())
    raise refusal


def _bounded(body: bytes) -> bytes:
    if len(body) > constants.BODY_BYTES_MAX:
        raise _body_too_large()
    return body


async def _receive(receive: Receive, seconds: float) -> MutableMapping[str, Any]:
    message = _received_already(receive)
    if message is None:
        try:
            async with asyncio.timeout(seconds):
                message = await receive()
        except TimeoutError:
            raise RequestTimeoutError from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnectedError
    return message


def _received_already(receive: Receive) -> MutableMapping[str, Any] | None:
    """Take a message that need not be waited for: most bodies are there, and setting a timer for them costs more."""
    waiting = receive().__await__()
    try:
        next(waiting)
    except StopIteration as arrived:
        message: MutableMapping[str, Any] = arrived.value
        return message
    # Not there yet: nothing was taken, so it can be asked for again, this time with a timer.
    if isinstance(waiting, Generator):
        waiting.close()
    return None


def _body_too_large() -> SessionaryError:
    return BodyTooLargeError(f"The body exceeds {constants.BODY_BYTES_MAX} bytes.")
