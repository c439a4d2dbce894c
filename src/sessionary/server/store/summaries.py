"""Summaries: what lists and reads show of a session, serialised when it changes, not each time it is read."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from sessionary.errors import StoreUnavailableError
from sessionary.models import Summary
from sessionary.server.store.base import Page, StoredSession
from sessionary.timestamps import format_timestamp

_encode: Final = msgspec.json.Encoder().encode


def encode_summary(session: StoredSession) -> bytes:
    """Encode a session's JSON object without metadata, messages and the braces around it."""
    summary = Summary(
        session.id,
        session.title,
        session.model,
        format_timestamp(session.created_at),
        format_timestamp(session.updated_at),
        session.user_id,
        session.session_group,
        session.status,
        session.total_messages,
        session.total_tokens,
        format_timestamp(session.expires_at),
    )
    return _encode(summary)[1:-1]


def build_page(rows: Sequence[Any], limit: int, to_id: Callable[[Any], str]) -> Page:
    """Join at most ``limit`` sessions; rows end with id, summary and metadata. One more row means a next page."""
    objects = [b'{%b,"metadata":%b}' % (row[-2] or _raise_no_summary(), row[-1]) for row in rows[:limit]]
    return Page(b",".join(objects), to_id(rows[limit - 1][-3]) if len(rows) > limit else None)


def _raise_no_summary() -> bytes:
    raise StoreUnavailableError(reason="a session has no summary: an older sessionary wrote it", unchanged=True)
