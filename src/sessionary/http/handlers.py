"""Each operation between the wire and its function: what it reads, what it answers."""

from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from sessionary import limits
from sessionary.errors import Fault, InvalidJson, InvalidParameter, InvalidRequest
from sessionary.http import replies
from sessionary.http.conditions import is_known
from sessionary.http.jsonbodies import read_json
from sessionary.http.parameters import ParameterReader
from sessionary.http.replies import Reply, json_reply, spelled_reply
from sessionary.http.requests import Headers
from sessionary.model import PURPOSE, CreateSession, ExtendSession, ListParameters, UpdateSession, WindowParameters
from sessionary.operations import sessions
from sessionary.operations.audit import note_export
from sessionary.operations.context import Context
from sessionary.operations.faults import fault_from, invalid
from sessionary.store.base import Window

_lists: Final = ParameterReader(ListParameters)
_windows: Final = ParameterReader(WindowParameters)
_PURPOSE: Final = PURPOSE.lower().encode()
_JSON_SPACE: Final = b" \t\r\n"
_PATH_SAFE: Final = "/%!$&'()*+,;=:@~"


class Request(Struct, frozen=True):
    """What a handler reads: the path as it came, the id in it, the query string, the headers and the body."""

    path: bytes
    session_id: str
    query: bytes
    headers: Headers
    body: bytes


async def create_session(ctx: Context, request: Request) -> Reply:
    """Read a CreateSession; answer 201."""
    asked: CreateSession = await _read(request.body, CreateSession)
    outcome = await sessions.create_session(
        ctx,
        asked.user_id,
        session_group=asked.session_group,
        metadata=asked.metadata,
        expiration_minutes=asked.expiration_minutes or limits.EXPIRATION_MINUTES_DEFAULT,
        initial_messages=asked.initial_messages or (),
        title=asked.title,
        model=asked.model,
    )
    return json_reply(201, replies.created(outcome), *replies.headers_of_effect(outcome))


async def list_sessions(ctx: Context, request: Request) -> Reply:
    """Read ListParameters; answer a page, and a link to the next if there is one."""
    asked: ListParameters = _lists.read(request.query)
    if asked.cursor is not None and asked.offset is not None:
        raise InvalidParameter(
            "cursor and offset exclude each other.", faults=(Fault("cursor", "Not together with offset."),)
        )
    if request.headers.get(_PURPOSE) == b"export" and asked.cursor is None and not asked.offset:
        await note_export(ctx)
    page = await sessions.list_sessions(
        ctx,
        user_id=asked.user_id,
        session_group=asked.session_group,
        model=asked.model,
        status=asked.status,
        limit=asked.limit,
        offset=asked.offset or 0,
        after=None if asked.cursor is None else replies.read_cursor(asked.cursor),
    )
    links = [] if page.after is None else [(b"link", _link_to_next(request.path, asked, page.after))]
    return spelled_reply(200, replies.listed(page), *links)


def _link_to_next(path: bytes, asked: ListParameters, after: str) -> bytes:
    given = {
        "userId": asked.user_id,
        "sessionGroup": asked.session_group,
        "model": asked.model,
        "status": asked.status,
        "limit": asked.limit,
        "cursor": replies.cursor_after(after),
    }
    query = urlencode({name: value for name, value in given.items() if value is not None}, quote_via=quote)
    return f'<{quote(path, safe=_PATH_SAFE)}?{query}>; rel="next"'.encode()


async def get_session(ctx: Context, request: Request) -> Reply:
    """Read WindowParameters; answer the session with its messages."""
    asked: WindowParameters = _windows.read(request.query)
    windowed = asked.messages_limit is not None or asked.messages_offset is not None
    window = Window(asked.messages_offset, asked.messages_limit) if windowed else None
    read = await sessions.get_session(ctx, request.session_id, window)
    tag = replies.tag_of(read.version)
    if is_known(request.headers, read.version):
        return Reply(304, b"", [tag, replies.KEPT_AND_ASKED_AGAIN])
    answer = replies.conversation(read, windowed=windowed)
    return spelled_reply(200, answer, tag, caching=replies.KEPT_AND_ASKED_AGAIN)


async def update_session(ctx: Context, request: Request) -> Reply:
    """Read an UpdateSession; answer the totals."""
    asked: UpdateSession = await _read(request.body, UpdateSession)
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
    return json_reply(200, replies.updated(outcome), *replies.headers_of_effect(outcome))


async def extend_session(ctx: Context, request: Request) -> Reply:
    """Read an ExtendSession, which may be left out; answer the new expiry."""
    asked: ExtendSession = await _read(request.body, ExtendSession, optional=True)
    minutes = asked.additional_minutes or limits.ADDITIONAL_MINUTES_DEFAULT
    outcome = await sessions.extend_session(ctx, request.session_id, minutes)
    return json_reply(200, replies.extended(outcome), *replies.headers_of_effect(outcome))


async def delete_session(ctx: Context, request: Request) -> Reply:
    """Answer that the session is gone."""
    outcome = await sessions.delete_session(ctx, request.session_id)
    return json_reply(200, replies.deleted(), *replies.headers_of_effect(outcome))


async def _read(body: bytes, kind: type[Struct], *, optional: bool = False) -> Any:
    if not body.strip(_JSON_SPACE):
        if optional:
            return kind()
        raise InvalidJson("A JSON object is required as the body.")
    value = await read_json(body)
    if value is None and optional:
        return kind()
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", faults=(Fault("", "Expected an object."),))
    # The official PHP client spells an empty map so.
    if value.get("metadata") == []:
        value["metadata"] = {}
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise invalid([fault_from(error)]) from None
