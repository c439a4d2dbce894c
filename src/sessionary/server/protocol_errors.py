"""Errors that the connection itself answers: invalid request heads, and how their responses are encoded and sent."""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, Final

import httptools

from sessionary import constants
from sessionary.errors import HttpVersionNotSupportedError, InvalidRequestError, OverloadedError, SessionaryError
from sessionary.server.http.responses import SECURITY_HEADERS, Header, problem_response

HEADERS_TOO_LARGE_DETAIL: Final = (
    f"There are more than {constants.HEADERS_MAX} headers, or {constants.HEADERS_BYTES_MAX} bytes of them."
)

_REASONS: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}
_logger: Final = logging.getLogger("sessionary.server.protocol")

_LINGER_SECONDS: Final = 2.0
_HOST: Final = re.compile(rb"((?:[\w.!$&'()*+,;=~-]|%[0-9A-Fa-f]{2})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_SUPPORTED_VERSIONS: Final = frozenset({"1.1", "1.0"})
_VERSION_ERRORS: Final = frozenset(
    {"Invalid HTTP version", "Pause on PRI/Upgrade", "Expected HTTP/2 Connection Preface"}
)
"""The parser's messages for an unknown version; ``PRI`` starts HTTP/2."""


def validate_head(version: str, target: bytes, headers: Sequence[Header]) -> SessionaryError | None:
    """Return what is wrong with a head that the parser accepted, or None."""
    if version not in _SUPPORTED_VERSIONS:
        return HttpVersionNotSupportedError()
    if b"#" in target:
        return InvalidRequestError("The target of the request has a fragment.")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1:
        return InvalidRequestError("The header Host is repeated.")
    if not hosts:
        return InvalidRequestError("The header Host is missing.") if version == "1.1" else None
    return None if _is_host(hosts[0]) else InvalidRequestError("The header Host is not valid.")


def error_of_parser(error: httptools.HttpParserError) -> SessionaryError:
    """Return the error for a request that the parser refused."""
    if str(error) in _VERSION_ERRORS:
        return HttpVersionNotSupportedError()
    return InvalidRequestError("The request is not valid HTTP.")


@lru_cache(maxsize=64)
def _is_host(value: bytes) -> bool:
    value = value.strip()
    match = _HOST.fullmatch(value)
    if match is None or not match[1].startswith(b"["):
        return match is not None
    try:
        IPv6Address(match[1][1:-1].decode())
    except ValueError:
        return False
    return True


def encode_error_response(error: SessionaryError, date: Header, request_id: str) -> bytes:
    """Encode the response for an error after which the connection is closed; logs it unless it is an overload."""
    if not isinstance(error, OverloadedError):
        _logger.info("Request %s was refused before it was routed: %d %s", request_id, error.status, error.detail)
    response = problem_response(error)
    headers = [
        date,
        *response.headers,
        *SECURITY_HEADERS,
        (b"content-length", b"%d" % len(response.body)),
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    lines = [b"HTTP/1.1 %d %b" % (response.status, _REASONS[response.status])]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join([*lines, b"", response.body])


class LingeringClose:
    """Closes a connection after an error: first for writing, and for reading after a moment.

    If it were closed at once while the client is still sending, TCP would reset it, and the client would lose the
    response. What arrives meanwhile is discarded.
    """

    __slots__ = ("_bytes", "_close", "_timer")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop, close: Callable[[], None]) -> None:
        """Close for writing; ``close`` is called after 2 seconds, or when too many bytes have arrived."""
        self._bytes = 0
        self._close: Final = close
        self._timer: Final = loop.call_later(_LINGER_SECONDS, close)
        if transport.can_write_eof():
            transport.write_eof()

    def discard(self, count: int) -> None:
        """Count bytes that arrived and are discarded."""
        self._bytes += count
        if self._bytes > constants.HEAD_BYTES_READ_MAX:
            self._close()

    def stop(self) -> None:
        """Cancel the timer: the connection is closed."""
        self._timer.cancel()
