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
        BadResponse,
        BodyTooLarge,
        ClientClosedError,
        ClientUsageError,
        Conflict,
        ConnectionFailed,
        DeadlineExceeded,
        ExpiryTooFar,
        Fault,
        Forbidden,
        HeadersTooLarge,
        InvalidCursor,
        InvalidHeader,
        InvalidJson,
        InvalidParameter,
        InvalidRequest,
        KeyReused,
        MetadataTooLarge,
        MethodNotAllowed,
        NotFound,
        NotModified,
        Overloaded,
        PreconditionFailed,
        QueryTooLong,
        QuotaExceeded,
        RateLimited,
        RequestTimeout,
        Response,
        ScopeMissing,
        SessionaryError,
        SessionFull,
        SessionNotFound,
        StoreUnavailable,
        TooLarge,
        TotalTooLarge,
        Unauthenticated,
        Unavailable,
        UnsupportedMediaType,
        WrongAnswerError,
    )
    from sessionary.model import (
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
    "Answered",
    "AsyncClient",
    "AsyncConversation",
    "Attempt",
    "BadResponse",
    "BodyTooLarge",
    "CallOptions",
    "Client",
    "ClientClosedError",
    "ClientUsageError",
    "Conflict",
    "ConnectionFailed",
    "Conversation",
    "CreateSession",
    "CreatedSession",
    "DeadlineExceeded",
    "DeletedSession",
    "ExpiryTooFar",
    "ExtendSession",
    "ExtendedSession",
    "Fault",
    "Forbidden",
    "HeadersTooLarge",
    "InvalidCursor",
    "InvalidHeader",
    "InvalidJson",
    "InvalidParameter",
    "InvalidRequest",
    "KeyReused",
    "ListedSession",
    "MetadataTooLarge",
    "MethodNotAllowed",
    "NotFound",
    "NotModified",
    "Overloaded",
    "PreconditionFailed",
    "QueryTooLong",
    "QuotaExceeded",
    "RateLimited",
    "RequestTimeout",
    "Response",
    "ScopeMissing",
    "Session",
    "SessionFull",
    "SessionNotFound",
    "SessionaryError",
    "StoreUnavailable",
    "Surroundings",
    "TooLarge",
    "TotalTooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedMediaType",
    "UpdateSession",
    "UpdatedSession",
    "WrongAnswerError",
]

# In this order: the words first, for they load nothing else.
_HOMES: Final = (
    "sessionary.errors",
    "sessionary.model",
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
