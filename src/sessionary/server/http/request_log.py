"""The record of a request for the access log, which ``server/logging.py`` writes."""

from collections.abc import Sequence

from msgspec import Struct

from sessionary.server.http.responses import Header
from sessionary.server.http.undelivered import Change


class RequestLog(Struct):
    """What is logged of a request and its response: never a body, a token or a message.

    The last four fields are not logged; the application keeps them here while it works on the request.
    """

    request_id: str
    method: str
    organisation: str | None = None
    route: str | None = None
    status: int = 0
    milliseconds: float = 0.0
    client: tuple[str, int] | None = None
    path: bytes = b""
    token_id: str | None = None
    session_id: str | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    forwarded_for: bytes | None = None
    rate_limit_headers: Sequence[Header] = ()
    strict: bool = False
    change: Change | None = None
    had_no_effect: bool = False
