"""Mapping of error responses and connection failures to exceptions."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2
import msgspec

from sessionary.client.deadlines import Deadline
from sessionary.client.failure_reasons import (
    Route,
    explain_broken,
    explain_timeout,
    explain_unreachable,
    is_before_request_sent,
)
from sessionary.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    FieldError,
    InternalServerError,
    InvalidArgumentError,
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


def _with_subclasses(error: type[SessionaryError]) -> Iterator[type[SessionaryError]]:
    yield error
    for below in error.__subclasses__():
        yield from _with_subclasses(below)


_STATUS_ERRORS: Final = [error for error in _with_subclasses(SessionaryError) if error.status >= _NO_SUCCESS]
_BY_CODE: Final = {(error.status, error.code): error for error in reversed(_STATUS_ERRORS)}
# The base class of each status: its subclasses mean more than the status alone says.
_BY_STATUS: Final = {error.status: error for error in reversed(_STATUS_ERRORS)} | {
    422: InvalidRequestError,
    502: UnavailableError,
    504: UnavailableError,
}


def error_from_response(response: httpx2.Response) -> SessionaryError:
    """Make the error for an error response, from this server or any other."""
    problem = _decode_problem(response)
    code = _text(problem, "code")
    error = _make(
        _error_class(response.status_code, code), _detail(response, problem), _field_errors(problem), response
    )
    error.code = code or error.code
    return attach_response(error, response)


def attach_response(error: SessionaryError, response: httpx2.Response) -> SessionaryError:
    """Set the attributes of an error that come from its response."""
    error.status = response.status_code
    error.response = response
    error.request_id = response.headers.get("x-request-id")
    error.retry_after = _retry_after(response)
    error.add_note(f"HTTP status {error.status}, code {error.code}, request id {error.request_id}")
    return error


@contextmanager
def transport_errors(route: Route, deadline: Deadline, timeout: float | None) -> Iterator[None]:
    """Turn what a transport raises into a SessionaryError that says where it happened and why."""
    try:
        yield
    except (httpx2.TimeoutException, TimeoutError) as error:
        raise _map_timeout(error, route, deadline, timeout) from error
    except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
        # Without the cause, whose text contains the header in question.
        raise InvalidArgumentError(f"The request cannot be sent: {type(error).__name__}.") from None
    except httpx2.DecodingError as error:
        raise ResponseValidationError(f"The response is not one of this API: {error}.") from error
    except (httpx2.ConnectError, httpx2.ProxyError) as error:
        reason = explain_unreachable(error, deadline.host)
        raise APIConnectionError(f"The server at {route} could not be reached: {reason}.", sent=False) from error
    except (httpx2.TransportError, httpx2.StreamError, OSError) as error:
        raise APIConnectionError(
            f"The server at {route} did not send a complete response: {explain_broken(error)}.", sent=True
        ) from error


def timeout_error(route: Route, phase: str, timeout: float | None, *, sent: bool) -> APITimeoutError:
    """Make the error of a call whose timeout has passed; its text says what had not happened by then."""
    span = "within its timeout" if timeout is None else f"within {timeout:g} s"
    return APITimeoutError(f"The call did not end {span}: {explain_timeout(phase, route)}.", sent=sent)


def _map_timeout(error: Exception, route: Route, deadline: Deadline, timeout: float | None) -> APIConnectionError:
    sent = not is_before_request_sent(error, deadline.phase)
    left = deadline.limit(None)
    if left is not None and left <= 0:
        return timeout_error(route, deadline.phase, timeout, sent=sent)
    return APIConnectionError(
        f"The server did not respond in time: {explain_timeout(deadline.phase, route)}.", sent=sent
    )


def _decode_problem(response: httpx2.Response) -> dict[str, Any]:
    try:
        problem = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _error_class(status: int, code: str) -> type[SessionaryError]:
    default: type[SessionaryError] = ResponseValidationError
    if status >= _CLIENT_ERROR:
        default = InvalidRequestError if status < _SERVER_ERROR else InternalServerError
    return _BY_CODE.get((status, code)) or _BY_STATUS.get(status, default)


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
        return f"The response is a redirect to {response.headers['location']}: give the client that URL."
    return f"The response is HTTP {response.status_code} without an error message."


def _text(problem: dict[str, Any], member: str) -> str:
    value = problem.get(member)
    return value if isinstance(value, str) else ""


def _field_errors(problem: dict[str, Any]) -> tuple[FieldError, ...]:
    given = problem.get("errors")
    objects = [fault for fault in given if isinstance(fault, dict)] if isinstance(given, list) else []
    return tuple(FieldError(_text(member, "pointer"), _text(member, "detail")) for member in objects)


def _retry_after(response: httpx2.Response) -> float | None:
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        # Relative to the server's own clock, which may differ from ours.
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())
