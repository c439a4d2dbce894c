"""Each operation between the wire and its function: what it reads, what it answers."""

from typing import Final
from urllib.parse import quote

from msgspec import Struct

from sessionary import constants
from sessionary.errors import FieldError, InvalidParameterError, PreconditionFailedError
from sessionary.models import (
    PURPOSE,
    CreateSession,
    ExtendSession,
    ListParameters,
    NoParameters,
    UpdateSession,
    WindowParameters,
)
from sessionary.server.http import responses
from sessionary.server.http.bodies import BodyReader
from sessionary.server.http.preconditions import LIST_HAS_NO_TAG, check_read, holds_for_list, is_known, version_wanted
from sessionary.server.http.query_parameters import ParameterReader
from sessionary.server.http.requests import Headers
from sessionary.server.http.responses import Reply, json_reply, spelled_reply
from sessionary.server.operations import sessions
from sessionary.server.operations.audit import record_export
from sessionary.server.operations.context import Context
from sessionary.server.store.base import Window

_lists: Final = ParameterReader(ListParameters)
_windows: Final = ParameterReader(WindowParameters)
_no_parameters: Final = ParameterReader(NoParameters)
_creations: Final = BodyReader(CreateSession)
_updates: Final = BodyReader(UpdateSession)
_extensions: Final = BodyReader(ExtendSession, optional=True)
_PURPOSE: Final = PURPOSE.lower().encode()
_PATH_SAFE: Final = "/%!$&'()*+,;=:@~"


class Request(Struct, frozen=True):
    """What a handler reads: the path as the caller sees it, the id in it, the query string, the headers and the body.

    ``strict`` says that the caller wants unknown names refused.
    """

    path: bytes
    session_id: str
    query: bytes
    headers: Headers
    body: bytes
    strict: bool = False


async def create_session(ctx: Context, request: Request) -> Reply:
    """Read a CreateSession; answer 201."""
    if request.query:
        _no_parameters.read(request.query, strict=request.strict)
    asked: CreateSession = await _creations.read(request.body, strict=request.strict)
    if not holds_for_list(request.headers):
        raise PreconditionFailedError(0, LIST_HAS_NO_TAG)
    outcome = await sessions.create_session(
        ctx,
        asked.user_id,
        session_group=asked.session_group,
        metadata=asked.metadata,
        expiration_minutes=asked.expiration_minutes or constants.EXPIRATION_MINUTES_DEFAULT,
        initial_messages=asked.initial_messages or (),
        title=asked.title,
        model=asked.model,
        created_at=asked.created_at,
    )
    reply = json_reply(201, responses.created(outcome), *responses.headers_of_effect(outcome))
    reply.session_id = outcome.session_id
    return reply


async def list_sessions(ctx: Context, request: Request) -> Reply:
    """Read ListParameters; answer a page, and a link to the next if there is one."""
    asked: ListParameters = _lists.read(request.query, strict=request.strict)
    if asked.cursor is not None and asked.offset is not None:
        detail = "must not be given together with offset."
        raise InvalidParameterError(f"cursor: {detail}", field_errors=(FieldError("cursor", detail),))
    if request.headers.get(_PURPOSE) == b"export" and asked.cursor is None and not asked.offset:
        await record_export(ctx)
    page = await sessions.list_sessions(
        ctx,
        user_id=asked.user_id,
        session_group=asked.session_group,
        model=asked.model,
        status=asked.status,
        limit=asked.limit,
        offset=asked.offset or 0,
        after=None if asked.cursor is None else responses.read_cursor(asked.cursor),
    )
    if not holds_for_list(request.headers):
        return _refused_for_list(request.headers)
    links = [] if page.after is None else [(b"link", _link_to_next(request.path, asked, page.after))]
    return spelled_reply(200, responses.listed(page), *links)


def _refused_for_list(headers: Headers) -> Reply:
    if version_wanted(headers) is not None:
        raise PreconditionFailedError(0, LIST_HAS_NO_TAG)
    return Reply(304, b"", [responses.NOT_KEPT])


def _link_to_next(path: bytes, asked: ListParameters, after: str) -> bytes:
    texts = {"userId": asked.user_id, "sessionGroup": asked.session_group, "model": asked.model, "status": asked.status}
    members = [f"{name}={quote(text, safe='')}" for name, text in texts.items() if text is not None]
    query = "&".join([*members, f"limit={asked.limit}", f"cursor={responses.cursor_after(after)}"])
    return f'<{quote(path, safe=_PATH_SAFE)}?{query}>; rel="next"'.encode()


async def get_session(ctx: Context, request: Request) -> Reply:
    """Read WindowParameters; answer the session with its messages."""
    asked: WindowParameters = _windows.read(request.query, strict=request.strict)
    windowed = asked.messages_limit is not None or asked.messages_offset is not None
    window = Window(asked.messages_offset, asked.messages_limit) if windowed else None
    read = await sessions.get_session(ctx, request.session_id, window)
    check_read(request.headers, read.version)
    tag = responses.tag_of(read.version)
    if is_known(request.headers, read.version):
        return Reply(304, b"", [tag, responses.KEPT_AND_ASKED_AGAIN])
    answer = responses.conversation(read, windowed=windowed)
    return spelled_reply(200, answer, tag, caching=responses.KEPT_AND_ASKED_AGAIN)


async def update_session(ctx: Context, request: Request) -> Reply:
    """Read an UpdateSession; answer the totals."""
    if request.query:
        _no_parameters.read(request.query, strict=request.strict)
    asked: UpdateSession = await _updates.read(request.body, strict=request.strict)
    outcome = await sessions.update_session(
        ctx,
        request.session_id,
        new_messages=asked.new_messages,
        tokens_used=asked.tokens_used,
        status=asked.status,
        metadata=asked.metadata,
        title=asked.title,
        model=asked.model,
    )
    return json_reply(200, responses.updated(outcome), *responses.headers_of_effect(outcome))


async def extend_session(ctx: Context, request: Request) -> Reply:
    """Read an ExtendSession, which may be left out; answer the new expiry."""
    if request.query:
        _no_parameters.read(request.query, strict=request.strict)
    asked: ExtendSession = await _extensions.read(request.body, strict=request.strict)
    minutes = asked.additional_minutes or constants.ADDITIONAL_MINUTES_DEFAULT
    outcome = await sessions.extend_session(ctx, request.session_id, minutes)
    return json_reply(200, responses.extended(outcome), *responses.headers_of_effect(outcome))


async def delete_session(ctx: Context, request: Request) -> Reply:
    """Answer that the session is gone."""
    if request.query:
        _no_parameters.read(request.query, strict=request.strict)
    outcome = await sessions.delete_session(ctx, request.session_id)
    return json_reply(200, responses.deleted(), *responses.headers_of_effect(outcome))
