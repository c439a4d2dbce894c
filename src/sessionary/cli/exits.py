"""Exit codes, so that scripts can tell failures apart."""

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
CALLED_WRONGLY: Final = 2
"""Click's own code, for what it cannot see itself too: settings, and files that are named in them."""
NOT_FOUND: Final = 3
NOT_ALLOWED: Final = 4
UNREACHABLE: Final = 5
UNAVAILABLE: Final = 6
REFUSED: Final = 7
SOME_REJECTED: Final = 8
"""What an import ends with that left some conversations out."""
SOME_MENDED: Final = 9
"""What an import ends with that kept every conversation, though some not as they were."""

_CODES: Final = (
    (NotFoundError, NOT_FOUND),
    ((AuthenticationError, PermissionDeniedError), NOT_ALLOWED),
    (APIConnectionError, UNREACHABLE),
    ((UnavailableError, RateLimitError, RequestTimeoutError), UNAVAILABLE),
    ((InvalidRequestError, RequestTooLargeError), REFUSED),
)
_SERVER_ERROR: Final = 500


def exit_code_of(error: SessionaryError) -> int:
    """Choose the exit code of a failure: what a server answered has codes of its own, all else is 1 or 2."""
    if error.response is None and not isinstance(error, APIConnectionError):
        wrong = ConfigurationError | InvalidArgumentError | InvalidRequestError
        return CALLED_WRONGLY if isinstance(error, wrong) else FAILED
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), FAILED)


def sentence_of(error: SessionaryError) -> str:
    """Say what went wrong in one line; for a fault of the server's also where its log tells more."""
    if error.response is None or error.status < _SERVER_ERROR or not error.request_id:
        return error.detail
    return f"{error.detail} ({error.code}, request id {error.request_id})"
