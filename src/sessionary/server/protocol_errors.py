"""What a connection refuses by itself: heads that the parser takes and HTTP does not, and how a refusal is written."""

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

TOO_LONG: Final = (
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

_FAREWELL_SECONDS: Final = 2.0
_HOST: Final = re.compile(rb"((?:[\w.!$&'()*+,;=~-]|%[0-9A-Fa-f]{2})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_VERSIONS: Final = frozenset({"1.1", "1.0"})
_NO_VERSION: Final = frozenset({"Invalid HTTP version", "Pause on PRI/Upgrade", "Expected HTTP/2 Connection Preface"})
"""What the parser says of a version that it does not know; ``PRI`` is how HTTP/2 begins."""


def refusal_of(version: str, target: bytes, headers: Sequence[Header]) -> SessionaryError | None:
    """Tell what is wrong with a head that the parser took."""
    if version not in _VERSIONS:
        return HttpVersionNotSupportedError()
    if b"#" in target:
        return InvalidRequestError("The target of the request has a fragment.")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1:
        return InvalidRequestError("The header Host stands more than once.")
    if not hosts:
        return InvalidRequestError("The header Host is missing.") if version == "1.1" else None
    return None if _is_host(hosts[0]) else InvalidRequestError("The header Host is not valid.")


def refusal_of_parser(error: httptools.HttpParserError) -> SessionaryError:
    """Tell what the parser did not take."""
    if str(error) in _NO_VERSION:
        return HttpVersionNotSupportedError()
    return InvalidRequestError("The request is not valid HTTP.")


@lru_cache(maxsize=64)
def _is_host(value: bytes) -> bool:
    value = value.strip()
    found = _HOST.fullmatch(value)
    if found is None or not found[1].startswith(b"["):
        return found is not None
    try:
        IPv6Address(found[1][1:-1].decode())
    except ValueError:
        return False
    return True


def encoded_refusal(error: SessionaryError, date: Header, request_id: str) -> bytes:
    """Encode an answer after which the connection is closed, and log it unless it is one of many alike."""
    if not isinstance(error, OverloadedError):
        _logger.info("Request %s was refused by its connection: %d %s", request_id, error.status, error.detail)
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


class Farewell:
    """Reads on for a moment after a refusal, and keeps nothing: closed at once, the connection would be reset.

    The sender would then lose the answer.
    """

    __slots__ = ("_bytes", "_close", "_timer")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop, close: Callable[[], None]) -> None:
        """Say that nothing more will be written; ``close`` is called when enough has come, or nothing for too long."""
        self._bytes = 0
        self._close: Final = close
        self._timer: Final = loop.call_later(_FAREWELL_SECONDS, close)
        if transport.can_write_eof():
            transport.write_eof()

    def throw_away(self, count: int) -> None:
        """Take so many bytes."""
        self._bytes += count
        if self._bytes > constants.HEAD_BYTES_READ_MAX:
            self._close()

    def stop(self) -> None:
        """Wait no longer: the connection is closed."""
        self._timer.cancel()
