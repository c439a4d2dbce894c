"""What a connection refuses by itself: heads that the parser takes and HTTP does not, and how a refusal is written."""

import re
from collections.abc import Sequence
from typing import Final

from sessionary import limits
from sessionary.errors import InvalidRequest, SessionaryError, VersionNotSupported
from sessionary.http.replies import SAFE, Header, problem

TOO_LONG: Final = f"There are more than {limits.HEADERS_MAX} headers, or {limits.HEADERS_BYTES_MAX} bytes of them."

_REASONS: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}
_HOST: Final = re.compile(rb"(?:[\w.!$&'()*+,;=~%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_VERSIONS: Final = frozenset({"1.1", "1.0"})


def refusal_of(version: str, headers: Sequence[Header]) -> SessionaryError | None:
    """Tell what is wrong with a head that the parser took."""
    if version not in _VERSIONS:
        return VersionNotSupported()
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1:
        return InvalidRequest("The header Host stands more than once.")
    if not hosts:
        return InvalidRequest("The header Host is missing.") if version == "1.1" else None
    return None if _HOST.fullmatch(hosts[0].strip()) else InvalidRequest("The header Host is not valid.")


def encoded_refusal(error: SessionaryError, date: Header, request_id: str) -> bytes:
    """Encode an answer after which the connection is closed."""
    reply = problem(error)
    headers = [
        date,
        *reply.headers,
        *SAFE,
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    lines = [b"HTTP/1.1 %d %b" % (reply.status, _REASONS[reply.status])]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join([*lines, b"", reply.body])
