"""From responses and broken connections to errors: the one place where a client does that."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
import msgspec

from sessionary.errors import (
    BadResponse,
    ConnectionFailed,
    DeadlineExceeded,
    Fault,
    InvalidRequest,
    MethodNotAllowed,
    NotModified,
    PreconditionFailed,
    SessionaryError,
    Unavailable,
)

_NO_SUCCESS: Final = 300
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_DETAIL_LENGTH_MAX: Final = 1_000
_VERSION: Final = re.compile(r'"([0-9]{1,18})"')


def _tree(error: type[SessionaryError]) -> Iterator[type[SessionaryError]]:
    yield error
    for below in error.__subclasses__():
        yield from _tree(below)


_ANSWERED: Final = [error for error in _tree(SessionaryError) if error.status >= _NO_SUCCESS]
_BY_CODE: Final = {(error.status, error.code): error for error in reversed(_ANSWERED)}
# The first of a status is the widest: what stands below it says more than a bare status does.
_BY_STATUS: Final = {error.status: error for error in reversed(_ANSWERED)} | {
    422: InvalidRequest,
    502: Unavailable,
    504: Unavailable,
}


def failure_of(response: httpx.Response) -> SessionaryError:
    """Make the error that a response means, whoever wrote its body."""
    problem = _problem(response)
    code = _text(problem, "code")
    error = _make(_kind(response.status_code, code), _detail(response, problem), _faults(problem), response)
    error.code = code or error.code
    return carrying(error, response)


def carrying(error: SessionaryError, response: httpx.Response) -> SessionaryError:
    """Give an error the response it came with."""
    error.status = response.status_code
    error.response = response
    error.request_id = response.headers.get("x-request-id")
    error.retry_after = _retry_after(response)
    error.add_note(f"HTTP status {error.status}, code {error.code}, request id {error.request_id}")
    return error


@contextmanager
def translated(left: Callable[[], float | None]) -> Iterator[None]:
    """Turn what a transport raises into ConnectionFailed or its kin; ``left`` tells the seconds left for the call."""
    try:
        yield
    except (httpx.TimeoutException, TimeoutError) as error:
        raise _timed_out(error, left()) from error
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        # Without the cause, which repeats the header it complains about.
        raise InvalidRequest(f"The request cannot be sent: {type(error).__name__}.") from None
    except httpx.DecodingError as error:
        raise BadResponse(f"The answer is not one of this API: {error}.") from error
    except (httpx.ConnectError, httpx.ProxyError) as error:
        raise ConnectionFailed(f"The server could not be reached: {error}.", sent=False) from error
    except httpx.TransportError as error:
        raise ConnectionFailed(f"The server did not answer to the end: {error}.") from error


def _timed_out(error: Exception, left: float | None) -> ConnectionFailed:
    sent = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
    if left is None or left > 0:
        return ConnectionFailed(f"The server did not answer in time: {error}.", sent=sent)
    return DeadlineExceeded(sent=sent)


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _kind(status: int, code: str) -> type[SessionaryError]:
    widest: type[SessionaryError] = BadResponse
    if status >= _CLIENT_ERROR:
        widest = InvalidRequest if status < _SERVER_ERROR else SessionaryError
    return _BY_CODE.get((status, code)) or _BY_STATUS.get(status, widest)


def _make(
    kind: type[SessionaryError], detail: str, faults: tuple[Fault, ...], response: httpx.Response
) -> SessionaryError:
    if kind is MethodNotAllowed:
        return MethodNotAllowed(response.headers.get("allow", ""))
    if kind is PreconditionFailed:
        tag = _VERSION.fullmatch(response.headers.get("etag", ""))
        return PreconditionFailed(int(tag[1]) if tag else 0)
    return kind(detail, faults=faults)


def _detail(response: httpx.Response, problem: dict[str, Any]) -> str:
    said = _text(problem, "detail") or _text(problem, "message") or _text(problem, "error")
    if said:
        return said[:_DETAIL_LENGTH_MAX]
    if response.status_code == NotModified.status:
        return ""
    if response.has_redirect_location:
        return f"The answer is a redirect to {response.headers['location']}: give the client that server's address."
    return f"The answer is HTTP {response.status_code} without a reason."


def _text(problem: dict[str, Any], member: str) -> str:
    value = problem.get(member)
    return value if isinstance(value, str) else ""


def _faults(problem: dict[str, Any]) -> tuple[Fault, ...]:
    given = problem.get("errors")
    objects = [fault for fault in given if isinstance(fault, dict)] if isinstance(given, list) else []
    return tuple(Fault(_text(fault, "pointer"), _text(fault, "detail")) for fault in objects)


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        # By the server's own clock, so that ours need not agree with it.
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, wait.total_seconds())
