"""The handler of each operation: it decodes the request, calls the operation and encodes the response."""

from typing import Final
from urllib.parse import quote

from msgspec import Struct

from sessionary.errors import PreconditionFailedError
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
from sessionary.server.http.cursors import format_cursor, parse_cursor
from sessionary.server.http.preconditions import (
    LIST_HAS_NO_ETAG,
    check_if_match,
    has_version,
    holds_without_etag,
    parse_if_match,
)
from sessionary.server.http.query_parameters import ParameterReader, invalid_parameter
from sessionary.server.http.requests import Headers
from sessionary.server.http.responses import Response, change_headers, etag, raw_response
from sessionary.server.operations import sessions
from sessionary.server.operations.audit import record_export
from sessionary.server.operations.context import Context
from sessionary.server.store.base import Window

_list_parameters: Final = ParameterReader(ListParameters)
_window_parameters: Final = ParameterReader(WindowParameters)
_no_parameters: Final = ParameterReader(NoParameters)
_create_body: Final = BodyReader(CreateSession)
_update_body: Final = BodyReader(UpdateSession)
_extend_body: Final = BodyReader(ExtendSession, optional=True)
_PURPOSE: Final = PURPOSE.lower().encode()
_PATH_SAFE: Final = "/%!$&'()*+,;=:@~"


class Request(Struct, frozen=True):
    """The request that a handler gets.

    ``path`` is the path as the caller sees it and ``session_id`` the id in it; ``strict`` means that unknown names are
    refused.
    """

    path: bytes
    session_id: str
    query: bytes
    headers: Headers
    body: bytes
    strict: bool = False


async def create_session(ctx: Context, request: Request) -> Response:
    """Decode a CreateSession; respond with 201 and the new session's id."""
    if request.query:
        _no_parameters.read(request.query, strict=request.strict)
    fields: CreateSession = await _create_body.read(request.body, strict=request.strict)
    if not holds_without_etag(request.headers):
        raise PreconditionFailedError(0, LIST_HAS_NO_ETAG)
    created = await sessions.create_session(ctx, fields)
    response = raw_response(201, responses.encode_created(created), *change_headers(created))
    response.session_id = created.session_id
    return response


async def list_sessions(ctx: Context, request: Request) -> Response:
    """Decode ListParameters; respond with a page, and a link to the next one if there is one."""
    parameters: ListParameters = _list_parameters.read(request.query, strict=request.strict)
    if parameters.cursor is not None and parameters.offset is not None:
        raise invalid_parameter("cursor", "must not be given together with offset.")
    if request.headers.get(_PURPOSE) == b"export" and parameters.cursor is None and not parameters.offset:
        await record_export(ctx)
    after = None if parameters.cursor is None else parse_cursor(parameters.cursor)
    page = await sessions.list_sessions(ctx, parameters, after)
    if not holds_without_etag(request.headers):
        return _list_precondition_response(request.headers)
    links = [] if page.after is None else [(b"link", _next_link(request.path, parameters, page.after))]
    return raw_response(200, responses.encode_page(page), *links)


def _list_precondition_response(headers: Headers) -> Response:
    if parse_if_match(headers) is not None:
        raise PreconditionFailedError(0, LIST_HAS_NO_ETAG)
    return Response(304, b"", [responses.NO_STORE])


def _next_link(path: bytes, parameters: ListParameters, after: str) -> bytes:
    filters = {
        "userId": parameters.user_id,
        "sessionGroup": parameters.session_group,
        "model": parameters.model,
        "status": parameters.status,
    }
    members = [f"{name}={quote(text, safe='')}" for name, text in filters.items() if text is not None]
    query = "&".join([*members, f"limit={parameters.limit}", f"cursor={format_cursor(after)}"])
    return f'<{quote(path, safe=_PATH_SAFE)}?{query}>; rel="next"'.encode()


async def get_session(ctx: Context, request: Request) -> Response:
    """Decode WindowParameters; respond with the session and its messages, or with 304."""
    parameters: WindowParameters = _window_parameters.read(request.query, strict=request.strict)
    windowed = parameters.messages_limit is not None or parameters.messages_offset is not None
    window = Window(parameters.messages_offset, parameters.messages_limit) if windowed else None
    session = await sessions.get_session(ctx, request.session_id, window)
    check_if_match(request.headers, session.version)
    tag = etag(session.version)
    if has_version(request.headers, session.version):
        return Response(304, b"", [tag, responses.REVALIDATE])
    body = responses.encode_session(session, windowed=windowed)
    return raw_response(200, body, tag, caching=responses.REVALIDATE)


async def update_session(ctx: Context, request: Request) -> Response:
    """Decode an UpdateSession; respond with the session's totals."""
    if request.query:
        _no_parameters.read(request.query, strict=request.strict)
    fields: UpdateSession = await _update_body.read(request.body, strict=request.strict)
    updated = await sessions.update_session(ctx, request.session_id, fields)
    return raw_response(200, responses.encode_updated(updated), *change_headers(updated))


async def extend_session(ctx: Context, request: Request) -> Response:
    """Decode an ExtendSession, which may be absent; respond with the new expiry."""
    if request.query:
        _no_parameters.read(request.query, strict=request.strict)
    fields: ExtendSession = await _extend_body.read(request.body, strict=request.strict)
    extended = await sessions.extend_session(ctx, request.session_id, fields)
    return raw_response(200, responses.encode_extended(extended), *change_headers(extended))


async def delete_session(ctx: Context, request: Request) -> Response:
    """Respond that the session was deleted."""
    if request.query:
        _no_parameters.read(request.query, strict=request.strict)
    deleted = await sessions.delete_session(ctx, request.session_id)
    return raw_response(200, responses.encode_deleted(), *change_headers(deleted))
