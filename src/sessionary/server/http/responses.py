"""HTTP responses: results and errors of the operations, serialised to a status, headers (security too) and a body."""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from sessionary.errors import (
    AuthenticationError,
    MethodNotAllowedError,
    OverloadedError,
    PreconditionFailedError,
    QuotaExceededError,
    RateLimitError,
    SessionaryError,
    UnavailableError,
)
from sessionary.models import (
    IDEMPOTENT_REPLAYED,
    CreatedSession,
    DeletedSession,
    ExtendedSession,
    Problem,
    UpdatedSession,
)
from sessionary.server.store.base import Conversation, Created, Deleted, Effect, Extended, Page, Updated
from sessionary.timestamps import format_timestamp

Header = tuple[bytes, bytes]

_encode: Final = msgspec.json.Encoder().encode
_JSON: Final = (b"content-type", b"application/json")
_PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")
NO_STORE: Final = (b"cache-control", b"no-store")
REVALIDATE: Final = (b"cache-control", b"private, no-cache")
"""Only the caller itself may store the response, and must revalidate it (``If-None-Match``) before each use."""
SECURITY_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""Sent with every response, so that no browser renders one as a page, whatever a caller stored in it."""
REPLAYED: Final = (IDEMPOTENT_REPLAYED.lower().encode(), b"true")


class Response(Struct):
    """An HTTP response; the application adds ``content-length``, ``x-request-id`` and the headers all responses share.

    ``session_id`` is the id of a session that this request created, for the log: the path does not contain it.
    """

    status: int
    body: bytes
    headers: list[Header]
    session_id: str | None = None


def json_response(status: int, content: Any, *headers: Header) -> Response:
    """Make a response of a value that is encoded as JSON."""
    return raw_response(status, _encode(content), *headers)


def raw_response(status: int, body: bytes, *headers: Header, caching: Header = NO_STORE) -> Response:
    """Make a response of a body that is JSON already."""
    return Response(status, body, [_JSON, caching, *headers])


def problem_response(error: SessionaryError, headers: Sequence[Header] = (), *, repeatable: bool = False) -> Response:
    """Make an error response (RFC 9457).

    ``repeatable`` means that the request has one effect however often it is sent, so that ``Retry-After`` is safe.
    """
    problem = Problem(
        detail=error.detail,
        type="about:blank",
        title=error.title,
        status=error.status,
        code=error.code,
        message=error.detail,
        errors=list(error.field_errors) or None,
    )
    all_headers = [_PROBLEM_JSON, NO_STORE, *_error_headers(error, repeatable=repeatable), *headers]
    return Response(error.status, _encode(problem), all_headers)


def encode_created(created: Created) -> bytes:
    """Encode the result of ``create_session``."""
    return _encode(
        CreatedSession(
            created.session_id, "active", format_timestamp(created.expires_at), format_timestamp(created.created_at)
        )
    )


def encode_updated(updated: Updated) -> bytes:
    """Encode the result of ``update_session``."""
    return _encode(
        UpdatedSession(
            updated.session_id,
            updated.status,
            updated.total_messages,
            updated.total_tokens,
            format_timestamp(updated.updated_at),
        )
    )


def encode_extended(extended: Extended) -> bytes:
    """Encode the result of ``extend_session``."""
    message = f"Session extended by {extended.minutes} minutes"
    return _encode(ExtendedSession(extended.session_id, format_timestamp(extended.expires_at), message))


def encode_deleted() -> bytes:
    """Encode the result of ``delete_session``."""
    return _encode(DeletedSession("Session deleted successfully"))


def encode_page(page: Page) -> bytes:
    """Encode the result of ``list_sessions``."""
    return b"[%b]" % page.sessions


def encode_session(session: Conversation, *, windowed: bool) -> bytes:
    """Encode the result of ``get_session`` from the stored JSON: decoding it would cost more than everything else."""
    offset = b',"messages_offset":%d' % session.offset if windowed else b""
    return b'{%b,"metadata":%b,"messages":[%b]%b}' % (session.summary, session.metadata, session.messages, offset)


def change_headers(effect: Effect) -> list[Header]:
    """Return the headers of a change: the session's new version, and whether this response was given before."""
    headers = [] if isinstance(effect, Deleted) else [etag(effect.version)]
    if effect.replayed:
        headers.append(REPLAYED)
    return headers


def etag(version: int) -> Header:
    """Return the ``ETag`` header of a version."""
    return b"etag", b'"%d"' % version


def _error_headers(error: SessionaryError, *, repeatable: bool) -> list[Header]:
    if isinstance(error, UnavailableError | RateLimitError):
        return _retry_after(error, repeatable=repeatable)
    match error:
        case AuthenticationError():
            return [(b"www-authenticate", b"Bearer")]
        case MethodNotAllowedError():
            return [(b"allow", error.allowed.encode())]
        case PreconditionFailedError() if error.version:
            return [etag(error.version)]
        case _:
            return []


def _retry_after(error: UnavailableError | RateLimitError, *, repeatable: bool) -> list[Header]:
    # Nobody knows when a quota will have room again: clients would wait for nothing. Where the outcome is unknown, the
    # header could double an effect, because some clients repeat every response that has it on their own.
    is_outcome_unknown = isinstance(error, UnavailableError) and not isinstance(error, OverloadedError)
    if isinstance(error, QuotaExceededError) or (is_outcome_unknown and not repeatable):
        return []
    return [(b"retry-after", b"%d" % max(1, math.ceil(error.retry_after or 0)))]
