"""Exit codes of the command line."""

from typing import Final

from sessionary.errors import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    RequestTooLargeError,
    SessionaryError,
    UnavailableError,
)

FAILED: Final = 1
USAGE_ERROR: Final = 2
"""Wrong flags or arguments (click's own code), and invalid settings or settings files."""
NOT_FOUND: Final = 3
NOT_ALLOWED: Final = 4
UNREACHABLE: Final = 5
UNAVAILABLE: Final = 6
INVALID_REQUEST: Final = 7
SOME_REJECTED: Final = 8
"""An import finished, but rejected some conversations."""
SOME_CHANGED: Final = 9
"""An import finished and rejected nothing, but changed some conversations."""

_CODES: Final = (
    (NotFoundError, NOT_FOUND),
    ((AuthenticationError, PermissionDeniedError), NOT_ALLOWED),
    (APIConnectionError, UNREACHABLE),
    ((UnavailableError, RateLimitError, RequestTimeoutError), UNAVAILABLE),
    ((InvalidRequestError, RequestTooLargeError), INVALID_REQUEST),
)
_SERVER_ERROR: Final = 500


def exit_code_for(error: SessionaryError) -> int:
    """Return the exit code for an error; errors without a response from a server end with 1 or 2."""
    if error.response is None and not isinstance(error, APIConnectionError):
        is_usage_error = isinstance(error, ConfigurationError | InvalidArgumentError | InvalidRequestError)
        return USAGE_ERROR if is_usage_error else FAILED
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), FAILED)


def error_message(error: SessionaryError) -> str:
    """Describe an error in one line; a server error with its code and request id, as in the server's log."""
    if error.response is None or error.status < _SERVER_ERROR or not error.request_id:
        return error.detail
    return f"{error.detail} ({error.code}, request id {error.request_id})"
