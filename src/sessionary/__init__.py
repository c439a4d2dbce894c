"""The open, self-hosted server for AI chat sessions, and its client.

The names below are the public face. Each is imported when it is first asked for, so that the server never loads the
client's HTTP library, nor the client the server.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sessionary.client.answers import Answered
    from sessionary.client.awaitable import AsyncClient, AsyncConversation
    from sessionary.client.blocking import Client, Conversation
    from sessionary.client.calls import CallOptions
    from sessionary.client.server import Attempt
    from sessionary.client.surroundings import Surroundings
    from sessionary.errors import (
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BodyTooLargeError,
        ClientClosedError,
        ClientUsageError,
        ConfigurationError,
        ConflictError,
        ExpiryTooFarError,
        FieldError,
        HeadersTooLargeError,
        IdempotencyKeyReusedError,
        InternalServerError,
        InvalidCursorError,
        InvalidHeaderError,
        InvalidJsonError,
        InvalidParameterError,
        InvalidRequestError,
        MetadataTooLargeError,
        MethodNotAllowedError,
        MismatchedResponseError,
        MissingScopeError,
        NotFoundError,
        NotModifiedError,
        OverloadedError,
        PermissionDeniedError,
        PreconditionFailedError,
        QueryTooLongError,
        QuotaExceededError,
        RateLimitError,
        RequestTimeoutError,
        RequestTooLargeError,
        Response,
        ResponseValidationError,
        SessionaryError,
        SessionFullError,
        SessionNotFoundError,
        StoreUnavailableError,
        TotalTooLargeError,
        UnavailableError,
        UnsupportedMediaTypeError,
    )
    from sessionary.models import (
        CreatedSession,
        CreateSession,
        DeletedSession,
        ExtendedSession,
        ExtendSession,
        ListedSession,
        Session,
        UpdatedSession,
        UpdateSession,
    )

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "Answered",
    "AsyncClient",
    "AsyncConversation",
    "Attempt",
    "AuthenticationError",
    "BodyTooLargeError",
    "CallOptions",
    "Client",
    "ClientClosedError",
    "ClientUsageError",
    "ConfigurationError",
    "ConflictError",
    "Conversation",
    "CreateSession",
    "CreatedSession",
    "DeletedSession",
    "ExpiryTooFarError",
    "ExtendSession",
    "ExtendedSession",
    "FieldError",
    "HeadersTooLargeError",
    "IdempotencyKeyReusedError",
    "InternalServerError",
    "InvalidCursorError",
    "InvalidHeaderError",
    "InvalidJsonError",
    "InvalidParameterError",
    "InvalidRequestError",
    "ListedSession",
    "MetadataTooLargeError",
    "MethodNotAllowedError",
    "MismatchedResponseError",
    "MissingScopeError",
    "NotFoundError",
    "NotModifiedError",
    "OverloadedError",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "QueryTooLongError",
    "QuotaExceededError",
    "RateLimitError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "Response",
    "ResponseValidationError",
    "Session",
    "SessionFullError",
    "SessionNotFoundError",
    "SessionaryError",
    "StoreUnavailableError",
    "Surroundings",
    "TotalTooLargeError",
    "UnavailableError",
    "UnsupportedMediaTypeError",
    "UpdateSession",
    "UpdatedSession",
]

# In this order: the words first, for they load nothing else.
_HOMES: Final = (
    "sessionary.errors",
    "sessionary.models",
    "sessionary.client.blocking",
    "sessionary.client.awaitable",
    "sessionary.client.calls",
    "sessionary.client.server",
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            found = getattr(importlib.import_module(home), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
