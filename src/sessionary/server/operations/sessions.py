"""The six operations."""

from typing import TypeVar

from sessionary import constants
from sessionary.errors import FieldError, MissingScopeError, SessionaryError, SessionNotFoundError
from sessionary.models import CreateSession, ExtendSession, ListParameters, UpdateSession
from sessionary.server.operations.context import Context
from sessionary.server.operations.messages import parse_creation_time, parse_messages
from sessionary.server.operations.metadata import check_metadata, model_from_metadata, title_from_metadata
from sessionary.server.operations.session_ids import normalize_session_id
from sessionary.server.operations.tokens import IMPORT
from sessionary.server.operations.validation import validation_error
from sessionary.server.store.base import (
    CURSOR_START,
    Command,
    Conversation,
    Create,
    Created,
    Delete,
    Deleted,
    Extend,
    Extended,
    ListQuery,
    Outcome,
    Page,
    Update,
    Updated,
    Window,
)

Effect = TypeVar("Effect")


async def create_session(ctx: Context, request: CreateSession) -> Created:
    """Create a session that expires ``expiration_minutes`` from now, also if it is imported with an older time."""
    if request.created_at is not None and not ctx.may_import:
        raise MissingScopeError(f"createdAt needs a token with the scope {IMPORT}.")
    check_metadata(request.metadata)
    imported_at = _imported_at(ctx)
    new = parse_messages(request.initial_messages or (), "/initialMessages", imported_at)
    session_id, creation_time = _generate_id(ctx, request.created_at, imported_at)
    minutes = request.expiration_minutes or constants.EXPIRATION_MINUTES_DEFAULT
    command = Create(
        organisation=ctx.organisation,
        session_id=session_id,
        actor=ctx.actor,
        idempotency_key=ctx.idempotency_key,
        created_at=creation_time,
        user_id=request.user_id,
        session_group=request.session_group,
        title=request.title or title_from_metadata(request.metadata),
        model=request.model or model_from_metadata(request.metadata),
        metadata=request.metadata or {},
        expires_after=minutes * constants.MILLISECONDS_PER_MINUTE,
        messages=new.messages,
        message_times=new.times,
        first_user_text=new.first_user_text,
        imported_at=None if request.created_at is None else imported_at,
    )
    return _effect_or_raise(await _apply(ctx, command), Created)


async def list_sessions(ctx: Context, request: ListParameters, after: str | None = None) -> Page:
    """Read a page of live sessions, newest first; it starts after the session ``after``."""
    query = ListQuery(
        organisation=ctx.organisation,
        user_id=request.user_id,
        session_group=request.session_group,
        model=request.model,
        status=request.status,
        limit=request.limit,
        offset=request.offset or 0,
        after=after or CURSOR_START,
    )
    return await ctx.service.store.list_sessions(query)


async def get_session(ctx: Context, session_id: str, window: Window | None = None) -> Conversation:
    """Read a session with its messages, or with a window of them."""
    return await ctx.service.store.fetch(ctx.organisation, _normalize_id(session_id), window)


async def update_session(ctx: Context, session_id: str, request: UpdateSession) -> Updated:
    """Append messages, add tokens, merge metadata and set the given fields, in one atomic step."""
    check_metadata(request.metadata)
    messages = request.new_messages
    new = None if messages is None else parse_messages(messages, "/newMessages", _imported_at(ctx))
    command = Update(
        organisation=ctx.organisation,
        session_id=_normalize_id(session_id),
        actor=ctx.actor,
        idempotency_key=ctx.idempotency_key,
        if_version=ctx.if_version,
        unless_version=ctx.unless_version,
        messages=None if new is None else new.messages,
        message_times=None if new is None else new.times,
        first_user_text=None if new is None else new.first_user_text,
        tokens_used=request.tokens_used,
        status=request.status,
        metadata=request.metadata,
        title=request.title or title_from_metadata(request.metadata),
        model=request.model or model_from_metadata(request.metadata),
    )
    return _effect_or_raise(await _apply(ctx, command), Updated)


async def extend_session(ctx: Context, session_id: str, request: ExtendSession) -> Extended:
    """Postpone a session's expiry; two extensions add up."""
    command = Extend(
        organisation=ctx.organisation,
        session_id=_normalize_id(session_id),
        actor=ctx.actor,
        idempotency_key=ctx.idempotency_key,
        if_version=ctx.if_version,
        unless_version=ctx.unless_version,
        minutes=request.additional_minutes or constants.ADDITIONAL_MINUTES_DEFAULT,
        horizon=ctx.service.expiry_horizon,
    )
    return _effect_or_raise(await _apply(ctx, command), Extended)


async def delete_session(ctx: Context, session_id: str) -> Deleted:
    """Delete a session and its messages."""
    command = Delete(
        organisation=ctx.organisation,
        session_id=_normalize_id(session_id),
        actor=ctx.actor,
        idempotency_key=ctx.idempotency_key,
        if_version=ctx.if_version,
        unless_version=ctx.unless_version,
    )
    return _effect_or_raise(await _apply(ctx, command), Deleted)


def _imported_at(ctx: Context) -> int | None:
    """Return the time of the import, which is now, or None if the caller may not import."""
    return ctx.service.clock() if ctx.may_import else None


def _generate_id(ctx: Context, created_at: str | None, imported_at: int | None) -> tuple[str, int]:
    if created_at is None or imported_at is None:
        return ctx.service.session_ids.generate()
    time = parse_creation_time(created_at, "/createdAt", imported_at)
    if isinstance(time, FieldError):
        raise validation_error([time])
    return ctx.service.session_ids.generate_at(time), time


async def _apply(ctx: Context, command: Command) -> Outcome:
    if ctx.service.quota_enforcer is not None:
        return await ctx.service.quota_enforcer.apply(command)
    return await ctx.service.store.apply(command)


def _effect_or_raise(outcome: Outcome, effect: type[Effect]) -> Effect:
    if isinstance(outcome, SessionaryError):
        raise outcome
    if not isinstance(outcome, effect):
        raise TypeError(type(outcome).__name__)
    return outcome


def _normalize_id(session_id: str) -> str:
    normalized = normalize_session_id(session_id)
    if normalized is None:
        raise SessionNotFoundError
    return normalized
