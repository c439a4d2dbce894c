"""The six operations."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request
from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bench.conventional.database import Database
from bench.conventional.schemas import (
    Created,
    CreateRequest,
    Deleted,
    Extended,
    ExtendRequest,
    ListQuery,
    NewMessage,
    StoredMessage,
    Summary,
    Updated,
    UpdateRequest,
    Whole,
)
from bench.conventional.tables import Message, Session
from bench.conventional.tokens import authorise

TITLE_LENGTH_MAX = 80

router = APIRouter(prefix="/api/v3/organizations/{organisation}/ai/sessions")

Organisation = Annotated[str, Depends(authorise)]


async def get_database(request: Request) -> Database:
    """The service's database."""
    database: Database = request.app.state.database
    return database


Sessions = Annotated[Database, Depends(get_database)]


@router.post("", status_code=201)
async def create_session(organisation: Organisation, database: Sessions, body: CreateRequest) -> Created:
    """Create a session, with its first messages if there are any."""
    now = _now()
    messages = body.initial_messages or []
    metadata = {key: value for key, value in (body.metadata or {}).items() if value is not None}
    session = Session(
        id=uuid4(),
        organisation=organisation,
        user_id=body.user_id,
        session_group=body.session_group,
        title=body.title or _text(metadata.get("title")) or _title_of(messages),
        model=body.model or _text(metadata.get("model")) or _text(metadata.get("modelId")),
        status="active",
        metadata_=metadata,
        total_messages=len(messages),
        total_tokens=0,
        created_at=now,
        updated_at=now,
        expires_at=now + timedelta(minutes=body.expiration_minutes),
    )
    async with database.writing() as transaction:
        transaction.add(session)
        await transaction.flush()
        await _insert_messages(transaction, session.id, 0, messages, now)
    return Created(session_id=session.id, status="active", expires_at=session.expires_at, created_at=now)


@router.get("")
async def list_sessions(
    organisation: Organisation, database: Sessions, wanted: Annotated[ListQuery, Query()]
) -> list[Summary]:
    """List live sessions, newest first."""
    found = (
        select(Session)
        .where(Session.organisation == organisation, Session.expires_at > _now())
        .filter_by(**wanted.model_dump(exclude={"limit", "offset"}, exclude_none=True))
        .order_by(Session.created_at.desc(), Session.id.desc())
        .limit(wanted.limit)
        .offset(wanted.offset)
    )
    async with database.reading() as transaction:
        sessions = await transaction.scalars(found)
    return [Summary.model_validate(session) for session in sessions]


@router.get("/{session_id}")
async def get_session(organisation: Organisation, database: Sessions, session_id: UUID) -> Whole:
    """Read a session and all its messages."""
    async with database.reading() as transaction:
        session = await transaction.scalar(select(Session).where(*_is_live(organisation, session_id, _now())))
        if session is None:
            raise _not_found()
        messages = await transaction.execute(
            select(Message.role, Message.content, Message.further, Message.created_at)
            .where(Message.session_id == session_id)
            .order_by(Message.position)
        )
    return Whole.model_validate(
        {
            **{name: getattr(session, name) for name in Summary.model_fields if name != "metadata"},
            "metadata_": session.metadata_,
            "messages": [
                StoredMessage(role=role, content=content, created_at=created_at, **further)
                for role, content, further, created_at in messages
            ],
        }
    )


@router.put("/{session_id}")
async def update_session(
    organisation: Organisation, database: Sessions, session_id: UUID, body: UpdateRequest
) -> Updated:
    """Append messages and change what else is named, in one transaction."""
    now = _now()
    messages = body.new_messages or []
    async with database.writing() as transaction:
        changes = await _changes(transaction, organisation, session_id, body)
        changed = await transaction.execute(
            update(Session)
            .where(*_is_live(organisation, session_id, now))
            .values(
                total_messages=Session.total_messages + len(messages),
                total_tokens=Session.total_tokens + body.tokens_used,
                updated_at=now,
                **changes,
            )
            .returning(Session.status, Session.total_messages, Session.total_tokens)
        )
        if (row := changed.one_or_none()) is None:
            raise _not_found()
        await _insert_messages(transaction, session_id, row.total_messages - len(messages), messages, now)
    return Updated(
        session_id=session_id,
        status=row.status,
        total_messages=row.total_messages,
        total_tokens=row.total_tokens,
        updated_at=now,
    )


@router.put("/{session_id}/extend")
async def extend_session(
    organisation: Organisation,
    database: Sessions,
    session_id: UUID,
    body: Annotated[ExtendRequest | None, Body()] = None,
) -> Extended:
    """Let a session live longer; extensions add up."""
    minutes = (body or ExtendRequest()).additional_minutes
    now = _now()
    async with database.writing() as transaction:
        session = await transaction.scalar(
            select(Session).where(*_is_live(organisation, session_id, now)).with_for_update()
        )
        if session is None:
            raise _not_found()
        session.expires_at += timedelta(minutes=minutes)
        session.updated_at = now
    return Extended(
        session_id=session_id, expires_at=session.expires_at, message=f"Session extended by {minutes} minutes"
    )


@router.delete("/{session_id}")
async def delete_session(organisation: Organisation, database: Sessions, session_id: UUID) -> Deleted:
    """Delete a session; its messages go with it."""
    async with database.writing() as transaction:
        deleted = await transaction.execute(
            delete(Session).where(*_is_live(organisation, session_id, _now())).returning(Session.id)
        )
        if deleted.one_or_none() is None:
            raise _not_found()
    return Deleted()


async def _changes(
    transaction: AsyncSession, organisation: str, session_id: UUID, body: UpdateRequest
) -> dict[str, Any]:
    metadata = body.metadata or {}
    changes: dict[str, Any] = {"status": body.status} if body.status else {}
    if title := body.title or _text(metadata.get("title")):
        changes["title"] = title
    elif derived := _title_of(body.new_messages or []):
        changes["title"] = func.coalesce(Session.title, derived)
    if model := body.model or _text(metadata.get("model")) or _text(metadata.get("modelId")):
        changes["model"] = model
    if metadata:
        # Merging needs the stored object: lock the row before it is read.
        stored = await transaction.scalar(
            select(Session.metadata_)
            .where(Session.organisation == organisation, Session.id == session_id)
            .with_for_update()
        )
        merged = {**(stored or {}), **metadata}
        changes["metadata_"] = {key: value for key, value in merged.items() if value is not None}
    return changes


async def _insert_messages(
    transaction: AsyncSession, session_id: UUID, first: int, messages: list[NewMessage], now: datetime
) -> None:
    if not messages:
        return
    rows = [
        {
            "session_id": session_id,
            "position": position,
            "role": message.role,
            "content": message.content,
            "further": message.model_extra or {},
            "created_at": now,
        }
        for position, message in enumerate(messages, first)
    ]
    await transaction.execute(insert(Message), rows)


def _is_live(organisation: str, session_id: UUID, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (Session.organisation == organisation, Session.id == session_id, Session.expires_at > now)


def _title_of(messages: list[NewMessage]) -> str | None:
    text = next((message.content for message in messages if message.role == "user" and message.content), "")
    line = next((line for line in text.splitlines() if line.strip()), "")
    line = re.sub(r"\s+", " ", line).strip()
    if len(line) <= TITLE_LENGTH_MAX:
        return line or None
    cut = line[: TITLE_LENGTH_MAX - 1]
    return (cut.rpartition(" ")[0] or cut) + "…"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _not_found() -> HTTPException:
    return HTTPException(404, "Session not found")
