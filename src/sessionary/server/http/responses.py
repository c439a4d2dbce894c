"""From outcomes to answers: the spelling of everything that leaves the server."""

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from sessionary.errors import (
    AuthenticationError,
    FieldError,
    InvalidCursorError,
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
    FaultReport,
    Problem,
    UpdatedSession,
)
from sessionary.server.store.base import Conversation, Created, Deleted, Effect, Extended, Page, Updated
from sessionary.timestamps import format_timestamp

Header = tuple[bytes, bytes]

_encode: Final = msgspec.json.Encoder().encode
_JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
NOT_KEPT: Final = (b"cache-control", b"no-store")
KEPT_AND_ASKED_AGAIN: Final = (b"cache-control", b"private, no-cache")
"""A version may be kept by who asked for it, and only shown again after asking whether it is still the one."""
SAFE: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""Tell a browser that no answer of ours is a page, whatever it is made to look like."""
REPLAYED: Final = (IDEMPOTENT_REPLAYED.lower().encode(), b"true")
_CURSOR_BYTES: Final = 16


class Reply(Struct):
    """An answer: status, body and headers, ``content-length`` and ``x-request-id`` left to the funnel.

    ``session_id`` is that of a session that has just begun: no path names it.
    """

    status: int
    body: bytes
    headers: list[Header]
    session_id: str | None = None


def json_reply(status: int, answer: Any, *headers: Header) -> Reply:
    """Answer with a struct as JSON."""
    return spelled_reply(status, _encode(answer), *headers)


def spelled_reply(status: int, answer: bytes, *headers: Header, caching: Header = NOT_KEPT) -> Reply:
    """Answer with JSON that is spelled already."""
    return Reply(status, answer, [_JSON, caching, *headers])


def created(outcome: Created) -> CreatedSession:
    """Spell a beginning."""
    return CreatedSession(
        outcome.session_id, "active", format_timestamp(outcome.expires_at), format_timestamp(outcome.created_at)
    )


def updated(outcome: Updated) -> UpdatedSession:
    """Spell a change."""
    return UpdatedSession(
        outcome.session_id,
        outcome.status,
        outcome.total_messages,
        outcome.total_tokens,
        format_timestamp(outcome.updated_at),
    )


def extended(outcome: Extended) -> ExtendedSession:
    """Spell a longer life."""
    return ExtendedSession(
        outcome.session_id, format_timestamp(outcome.expires_at), f"Session extended by {outcome.minutes} minutes"
    )


def deleted() -> DeletedSession:
    """Spell an end."""
    return DeletedSession("Session deleted successfully")


def listed(page: Page) -> bytes:
    """Spell a page of a list."""
    return b"[%b]" % page.sessions


def conversation(read: Conversation, *, windowed: bool) -> bytes:
    """Spell a session with its messages, all of it as it is kept: decoding would cost more than all the rest."""
    place = b',"messages_offset":%d' % read.offset if windowed else b""
    return b'{%b,"metadata":%b,"messages":[%b]%b}' % (read.summary, read.metadata, read.messages, place)


def problem(error: SessionaryError, headers: Sequence[Header] = (), *, repeatable: bool = False) -> Reply:
    """Answer with a failure (RFC 9457); a ``repeatable`` request has one effect however often it is sent."""
    answer = Problem(
        detail=error.detail,
        type="about:blank",
        title=error.title,
        status=error.status,
        code=error.code,
        message=error.detail,
        errors=[FaultReport(field_error.pointer, field_error.detail) for field_error in error.field_errors] or None,
    )
    answered = [_PROBLEM, NOT_KEPT, *_headers_of(error, repeatable=repeatable), *headers]
    return Reply(error.status, _encode(answer), answered)


def headers_of_effect(effect: Effect) -> list[Header]:
    """Say which version the session has now, and whether this answer was given before."""
    headers = [] if isinstance(effect, Deleted) else [tag_of(effect.version)]
    if effect.replayed:
        headers.append(REPLAYED)
    return headers


def tag_of(version: int) -> Header:
    """Spell a version as an entity tag."""
    return b"etag", b'"%d"' % version


def _headers_of(error: SessionaryError, *, repeatable: bool) -> list[Header]:
    if isinstance(error, UnavailableError | RateLimitError):
        return _when_to_repeat(error, repeatable=repeatable)
    match error:
        case AuthenticationError():
            return [(b"www-authenticate", b"Bearer")]
        case MethodNotAllowedError():
            return [(b"allow", error.allowed.encode())]
        case PreconditionFailedError() if error.version:
            return [tag_of(error.version)]
        case _:
            return []


def _when_to_repeat(error: UnavailableError | RateLimitError, *, repeatable: bool) -> list[Header]:
    # When a quota has room nobody knows, and clients would sleep for nothing. Of an unknown outcome some clients make
    # two effects: they repeat by themselves whatever has this header.
    unknown = isinstance(error, UnavailableError) and not isinstance(error, OverloadedError)
    if isinstance(error, QuotaExceededError) or (unknown and not repeatable):
        return []
    return [(b"retry-after", b"%d" % max(1, math.ceil(error.retry_after or 0)))]


def cursor_after(session_id: str) -> str:
    """Make the cursor of the page that follows a session."""
    return base64.urlsafe_b64encode(bytes.fromhex(session_id.replace("-", ""))).rstrip(b"=").decode()


def read_cursor(cursor: str) -> str:
    """Read a cursor back into the id it was made of; raises InvalidCursorError."""
    try:
        digits = base64.b64decode(f"{cursor}==", altchars=b"-_", validate=True).hex()
    except (binascii.Error, ValueError):
        digits = ""
    if len(digits) != 2 * _CURSOR_BYTES:
        raise InvalidCursorError(field_errors=(FieldError("cursor", "It is not a cursor of this server."),))
    session_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    if cursor_after(session_id) != cursor:
        raise InvalidCursorError(field_errors=(FieldError("cursor", "It is not a cursor of this server."),))
    return session_id
