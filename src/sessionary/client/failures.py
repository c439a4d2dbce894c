"""From responses and broken connections to errors: the one place where a client does that."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2
import msgspec

from sessionary.client.deadlines import Deadline
from sessionary.client.reasons import Route, is_before_the_request, what_was_late, why_broken, why_unreachable
from sessionary.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    FieldError,
    InternalServerError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotModifiedError,
    PreconditionFailedError,
    ResponseValidationError,
    SessionaryError,
    UnavailableError,
)

_NO_SUCCESS: Final = 300
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_DETAIL_LENGTH_MAX: Final = 1_000
_TOKEN_HINT: Final = "Give the client a token that this server knows, with token= or in SESSIONARY_TOKEN."  # noqa: S105 - a hint
_VERSION: Final = re.compile(r'"([0-9]{1,18})"')


def _tree(error: type[SessionaryError]) -> Iterator[type[SessionaryError]]:
    yield error
    for below in error.__subclasses__():
        yield from _tree(below)


_ANSWERED: Final = [error for error in _tree(SessionaryError) if error.status >= _NO_SUCCESS]
_BY_CODE: Final = {(error.status, error.code): error for error in reversed(_ANSWERED)}
# The first of a status is the widest: what stands below it says more than a bare status does.
_BY_STATUS: Final = {error.status: error for error in reversed(_ANSWERED)} | {
    422: InvalidRequestError,
    502: UnavailableError,
    504: UnavailableError,
}


def failure_of(response: httpx2.Response) -> SessionaryError:
    """Make the error that a response means, whoever wrote its body."""
    problem = _problem(response)
    code = _text(problem, "code")
    error = _make(_kind(response.status_code, code), _detail(response, problem), _faults(problem), response)
    error.code = code or error.code
    return carrying(error, response)


def carrying(error: SessionaryError, response: httpx2.Response) -> SessionaryError:
    """Give an error the response it came with."""
    error.status = response.status_code
    error.response = response
    error.request_id = response.headers.get("x-request-id")
    error.retry_after = _retry_after(response)
    error.add_note(f"HTTP status {error.status}, code {error.code}, request id {error.request_id}")
    return error


@contextmanager
def translated(route: Route, deadline: Deadline, timeout: float | None) -> Iterator[None]:
    """Turn what a transport raises into APIConnectionError or its kin, which say where it happened and why."""
    try:
        yield
    except (httpx2.TimeoutException, TimeoutError) as error:
        raise _timed_out(error, route, deadline, timeout) from error
    except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
        # Without the cause, which repeats the header it complains about.
        raise InvalidRequestError(f"The request cannot be sent: {type(error).__name__}.") from None
    except httpx2.DecodingError as error:
        raise ResponseValidationError(f"The answer is not one of this API: {error}.") from error
    except (httpx2.ConnectError, httpx2.ProxyError) as error:
        reason = why_unreachable(error, deadline.host)
        raise APIConnectionError(f"The server at {route} could not be reached: {reason}.", sent=False) from error
    except (httpx2.TransportError, httpx2.StreamError, OSError) as error:
        raise APIConnectionError(
            f"The server at {route} did not answer to the end: {why_broken(error)}.", sent=True
        ) from error


def late(route: Route, phase: str, timeout: float | None, *, sent: bool) -> APITimeoutError:
    """Make the error of a call whose time is up, which says how long that was and what had not happened."""
    span = "within its timeout" if timeout is None else f"within {timeout:g} s"
    return APITimeoutError(f"The call did not end {span}: {what_was_late(phase, route)}.", sent=sent)


def _timed_out(error: Exception, route: Route, deadline: Deadline, timeout: float | None) -> APIConnectionError:
    sent = not is_before_the_request(error, deadline.phase)
    left = deadline.cut(None)
    if left is not None and left <= 0:
        return late(route, deadline.phase, timeout, sent=sent)
    return APIConnectionError(f"The server did not answer in time: {what_was_late(deadline.phase, route)}.", sent=sent)


def _problem(response: httpx2.Response) -> dict[str, Any]:
    try:
        problem = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _kind(status: int, code: str) -> type[SessionaryError]:
    widest: type[SessionaryError] = ResponseValidationError
    if status >= _CLIENT_ERROR:
        widest = InvalidRequestError if status < _SERVER_ERROR else InternalServerError
    return _BY_CODE.get((status, code)) or _BY_STATUS.get(status, widest)


def _make(
    kind: type[SessionaryError], detail: str, field_errors: tuple[FieldError, ...], response: httpx2.Response
) -> SessionaryError:
    if kind is MethodNotAllowedError:
        return MethodNotAllowedError(response.headers.get("allow", ""))
    if kind is PreconditionFailedError:
        tag = _VERSION.fullmatch(response.headers.get("etag", ""))
        return PreconditionFailedError(int(tag[1]) if tag else 0, detail)
    if kind is AuthenticationError:
        detail = f"{detail.rstrip('.')}. {_TOKEN_HINT}"
    return kind(detail, field_errors=field_errors)


def _detail(response: httpx2.Response, problem: dict[str, Any]) -> str:
    said = _text(problem, "detail") or _text(problem, "message") or _text(problem, "error")
    if said:
        return said[:_DETAIL_LENGTH_MAX]
    if response.status_code == NotModifiedError.status:
        return ""
    if response.has_redirect_location:
        return f"The answer is a redirect to {response.headers['location']}: give the client that server's address."
    return f"The answer is HTTP {response.status_code} without a reason."


def _text(problem: dict[str, Any], member: str) -> str:
    value = problem.get(member)
    return value if isinstance(value, str) else ""


def _faults(problem: dict[str, Any]) -> tuple[FieldError, ...]:
    given = problem.get("errors")
    objects = [fault for fault in given if isinstance(fault, dict)] if isinstance(given, list) else []
    return tuple(FieldError(_text(fault, "pointer"), _text(fault, "detail")) for fault in objects)


def _retry_after(response: httpx2.Response) -> float | None:
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        # By the server's own clock, so that ours need not agree with it.
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())
