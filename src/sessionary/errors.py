"""Every error of the server and the client.

The first sentence of a class's docstring is the default ``detail`` that a caller gets. ``code`` is what programs match,
``status`` is the HTTP status.
"""

import copyreg
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Protocol

from msgspec import Struct


class FieldError(Struct, frozen=True):
    """One part of a request that is not valid.

    ``pointer`` is a JSON pointer or the name of a parameter, ``detail`` says what is allowed there.
    """

    pointer: str
    detail: str


class Response(Protocol):
    """The HTTP response of a result or an error of the client."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; the case of their names does not matter."""

    @property
    def content(self) -> bytes:
        """The body as bytes."""

    @property
    def text(self) -> str:
        """The body as text."""

    @property
    def links(self) -> Mapping[Any, Mapping[str, str]]:
        """The ``Link`` headers by relation: ``links["next"]["url"]``."""

    def json(self) -> Any:
        """Read the body as JSON; raises ValueError if it is not."""


class SessionaryError(Exception):
    """The base of every error that sessionary raises.

    ``code`` is for programs, ``detail`` for people. ``status`` is the HTTP status, 0 for an error that came without
    an HTTP response. ``field_errors`` say which parts of a request are wrong.
    """

    code: str = "ERROR"
    status: int = 0
    title: ClassVar[str] = "Error"

    # Set by the client only, from the error response.
    response: Response | None = None
    request_id: str | None = None
    retry_after: float | None = None

    def __init__(self, detail: str | None = None, *, field_errors: tuple[FieldError, ...] = ()) -> None:
        """Take the text for the caller; the default is the first sentence of the class's docstring."""
        self.detail: Final = detail or (self.__doc__ or "").partition("\n")[0]
        self.field_errors: Final = field_errors
        super().__init__(self.detail)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle without ``__init__``, whose parameters differ from class to class."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class APIStatusError(SessionaryError):
    """The server answered with an error status."""


class InternalServerError(APIStatusError):
    """Something went wrong inside the service."""

    code = "INTERNAL"
    status = 500
    title = "Internal error"


class NotModifiedError(APIStatusError):
    """The session has not changed since the version the caller has."""

    code = "NOT_MODIFIED"
    status = 304
    title = "Not modified"


class InvalidRequestError(APIStatusError):
    """The request is not valid."""

    code = "INVALID_REQUEST"
    status = 400
    title = "Invalid request"


class HttpVersionNotSupportedError(APIStatusError):
    """This server speaks HTTP/1.1 and HTTP/1.0."""

    code = "HTTP_VERSION_NOT_SUPPORTED"
    status = 505
    title = "HTTP version not supported"


class InvalidJsonError(InvalidRequestError):
    """The body is not valid JSON."""

    code = "INVALID_JSON"


class InvalidParameterError(InvalidRequestError):
    """A query parameter is not valid."""

    code = "INVALID_PARAMETER"


class UnknownNameError(InvalidRequestError):
    """A query parameter or a member of the body is not known here."""

    code = "UNKNOWN_NAME"


class InvalidHeaderError(InvalidRequestError):
    """A header is not valid."""

    code = "INVALID_HEADER"


class InvalidCursorError(InvalidParameterError):
    """The cursor cannot be read; start again without one."""

    code = "INVALID_CURSOR"


class ExpiryTooFarError(InvalidRequestError):
    """The session would expire later than this server allows."""

    code = "EXPIRY_TOO_FAR"


class MetadataTooLargeError(InvalidRequestError):
    """The session's metadata would be too large."""

    code = "METADATA_TOO_LARGE"


class TotalTooLargeError(InvalidRequestError):
    """The session's token total would be too large."""

    code = "TOTAL_TOO_LARGE"


class AuthenticationError(APIStatusError):
    """A valid bearer token is required."""

    code = "UNAUTHENTICATED"
    status = 401
    title = "Unauthenticated"


class PermissionDeniedError(APIStatusError):
    """The token is not valid for this organisation."""

    code = "FORBIDDEN"
    status = 403
    title = "Forbidden"


class MissingScopeError(PermissionDeniedError):
    """The token lacks the scope this operation needs."""

    code = "SCOPE_MISSING"


class NotFoundError(APIStatusError):
    """There is nothing at this path."""

    code = "NOT_FOUND"
    status = 404
    title = "Not found"


class SessionNotFoundError(NotFoundError):
    """There is no such session in this organisation."""

    code = "SESSION_NOT_FOUND"


class TokenNotFoundError(NotFoundError):
    """There is no such token."""

    code = "TOKEN_NOT_FOUND"


class MethodNotAllowedError(APIStatusError):
    """This path does not support this method."""

    code = "METHOD_NOT_ALLOWED"
    status = 405
    title = "Method not allowed"

    def __init__(self, allowed: str) -> None:
        """Take the supported methods in the form of the ``Allow`` header: ``GET, HEAD``."""
        self.allowed: Final = allowed
        super().__init__()


class RequestTimeoutError(APIStatusError):
    """The request did not arrive in time."""

    code = "REQUEST_TIMEOUT"
    status = 408
    title = "Request timeout"


class ConflictError(APIStatusError):
    """The request conflicts with another one."""

    code = "CONFLICT"
    status = 409
    title = "Conflict"


class PreconditionFailedError(APIStatusError):
    """The session has changed since the version the request names."""

    code = "PRECONDITION_FAILED"
    status = 412
    title = "Precondition failed"

    def __init__(self, version: int, detail: str | None = None) -> None:
        """Take the session's current version, 0 where there is none."""
        self.version: Final = version
        super().__init__(detail)


class RequestTooLargeError(APIStatusError):
    """The request is too large."""

    code = "TOO_LARGE"
    status = 413
    title = "Too large"


class BodyTooLargeError(RequestTooLargeError):
    """The body is too large."""

    code = "BODY_TOO_LARGE"


class SessionFullError(RequestTooLargeError):
    """The session has no room for these messages."""

    code = "SESSION_FULL"


class QueryTooLongError(APIStatusError):
    """The query string is too long."""

    code = "QUERY_TOO_LONG"
    status = 414
    title = "URI too long"


class UnsupportedMediaTypeError(APIStatusError):
    """The body must be JSON in UTF-8."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415
    title = "Unsupported media type"


class IdempotencyKeyReusedError(APIStatusError):
    """The idempotency key was used before with another request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    status = 422
    title = "Idempotency key reused"


class RateLimitError(APIStatusError):
    """There were too many requests; try again later."""

    code = "RATE_LIMITED"
    status = 429
    title = "Too many requests"

    def __init__(
        self, detail: str | None = None, *, field_errors: tuple[FieldError, ...] = (), retry_after: float | None = None
    ) -> None:
        """Take the number of seconds after which the request will be admitted."""
        super().__init__(detail, field_errors=field_errors)
        self.retry_after = retry_after


class QuotaExceededError(RateLimitError):
    """The organisation's quota is used up; delete sessions or let them expire."""

    code = "QUOTA_EXCEEDED"
    title = "Quota exceeded"


class HeadersTooLargeError(APIStatusError):
    """The headers together are too large."""

    code = "HEADERS_TOO_LARGE"
    status = 431
    title = "Request header fields too large"


class UnavailableError(APIStatusError):
    """The service cannot answer now; try again."""

    code = "UNAVAILABLE"
    status = 503
    title = "Service unavailable"

    def __init__(
        self, detail: str | None = None, *, field_errors: tuple[FieldError, ...] = (), reason: str = ""
    ) -> None:
        """Take the text for the caller, and a ``reason`` for the operator's log that is never sent to a caller."""
        super().__init__(detail, field_errors=field_errors)
        self.reason: Final = reason


class OverloadedError(UnavailableError):
    """The service is busy and refused the request before doing anything; try again."""

    code = "OVERLOADED"


class StoreUnavailableError(UnavailableError):
    """The store did not confirm the request: it was applied whole or not at all; try again."""

    code = "STORE_UNAVAILABLE"

    def __init__(
        self,
        detail: str | None = None,
        *,
        field_errors: tuple[FieldError, ...] = (),
        reason: str = "",
        unchanged: bool = False,
        unreachable: bool = False,
    ) -> None:
        """Take what is known about the outcome and the cause.

        ``unchanged`` means that certainly nothing was changed. ``unreachable`` means that the database could not be
        reached or is not ready yet, so that waiting may help; otherwise an operator has to change something first.
        """
        super().__init__(detail or (_UNCHANGED if unchanged else None), field_errors=field_errors, reason=reason)
        self.unchanged: Final = unchanged
        self.unreachable: Final = unreachable


_UNCHANGED: Final = "The store refused the request and changed nothing; try again."


class ConfigurationError(SessionaryError):
    """A setting is missing or not valid."""

    code = "CONFIGURATION"
    title = "Configuration error"


class InvalidArgumentError(SessionaryError, ValueError):
    """An argument of a call is not valid; nothing was sent."""

    code = "INVALID_ARGUMENT"
    title = "Invalid argument"


class APIConnectionError(SessionaryError):
    """The server could not be reached, or its response was not complete."""

    code = "CONNECTION_FAILED"
    title = "Connection failed"

    def __init__(self, detail: str | None = None, *, sent: bool = True) -> None:
        """Store whether the server may have received the request, in this or an earlier attempt of the call."""
        self.sent = sent
        super().__init__(detail)


class APITimeoutError(APIConnectionError):
    """The call did not finish within its timeout."""

    code = "DEADLINE_EXCEEDED"
    title = "Deadline exceeded"


class ResponseValidationError(SessionaryError):
    """The response is not one of this API."""

    code = "BAD_RESPONSE"
    title = "Bad response"


class MismatchedResponseError(ResponseValidationError):
    """The response belongs to another request, and is not returned."""

    code = "WRONG_ANSWER"
    title = "Unexpected response"


class ClientUsageError(SessionaryError):
    """The client cannot be used in this way or in this place."""

    code = "CLIENT_UNUSABLE"
    title = "Client unusable"


class ClientClosedError(ClientUsageError):
    """The client is closed; make a new one."""

    code = "CLIENT_CLOSED"
    title = "Client closed"
