"""The open, self-hosted server for AI chat sessions, and its client.

The names below are public. Each is imported when it is first used, so that the server never loads the client's HTTP
library, nor the client the server.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sessionary.client._async_client import AsyncClient
    from sessionary.client._async_conversation import AsyncConversation
    from sessionary.client._async_responses import AsyncPage
    from sessionary.client._client import Client
    from sessionary.client._conversation import Conversation
    from sessionary.client._responses import Page
    from sessionary.client.config import Attempt
    from sessionary.client.request_specs import CallOptions
    from sessionary.client.response_decoding import APIResponse
    from sessionary.client.results import (
        CreatedSession,
        DeletedSession,
        ExtendedSession,
        ListedSession,
        Message,
        Session,
        UpdatedSession,
    )
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
        InvalidArgumentError,
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
    from sessionary.models import CreateSession, ExtendSession, Role, Status, UpdateSession

__version__ = "0.1.0"

__all__ = [
    "APIConnectionError",
    "APIResponse",
    "APIStatusError",
    "APITimeoutError",
    "AsyncClient",
    "AsyncConversation",
    "AsyncPage",
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
    "InvalidArgumentError",
    "InvalidCursorError",
    "InvalidHeaderError",
    "InvalidJsonError",
    "InvalidParameterError",
    "InvalidRequestError",
    "ListedSession",
    "Message",
    "MetadataTooLargeError",
    "MethodNotAllowedError",
    "MismatchedResponseError",
    "MissingScopeError",
    "NotFoundError",
    "NotModifiedError",
    "OverloadedError",
    "Page",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "QueryTooLongError",
    "QuotaExceededError",
    "RateLimitError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "Response",
    "ResponseValidationError",
    "Role",
    "Session",
    "SessionFullError",
    "SessionNotFoundError",
    "SessionaryError",
    "Status",
    "StoreUnavailableError",
    "TotalTooLargeError",
    "UnavailableError",
    "UnsupportedMediaTypeError",
    "UpdateSession",
    "UpdatedSession",
    "__version__",
]

# In the order in which they are searched: errors and results first, for they load nothing else.
_MODULES: Final = (
    "sessionary.errors",
    "sessionary.client.results",
    "sessionary.models",
    "sessionary.client._client",
    "sessionary.client._async_client",
    "sessionary.client._conversation",
    "sessionary.client._async_conversation",
    "sessionary.client._responses",
    "sessionary.client._async_responses",
    "sessionary.client.response_decoding",
    "sessionary.client.request_specs",
    "sessionary.client.config",
)


def _import_public_name(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            found = getattr(importlib.import_module(module), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:
    # Hidden from type checkers: a module with __getattr__ has every name for them, misspelt ones too.
    __getattr__ = _import_public_name


def __dir__() -> list[str]:
    return __all__
