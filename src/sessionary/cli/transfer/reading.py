"""Reading sessions as lines, page by page, a few at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct

import sessionary
from sessionary import limits
from sessionary.errors import NotFound
from sessionary.model import JsonObject, ListedSession, Session

_SESSIONS_AT_ONCE: Final = 4
"""Each may be as long as a session can be; more at once would not be faster."""
_WINDOW: Final = 1_000

_encode: Final = msgspec.json.Encoder().encode


class Mark(Struct, frozen=True):
    """How far an export to a file has come: all pages before ``cursor`` or ``offset`` stand in its first bytes."""

    question: JsonObject
    """Of whom and what; the lines before are no answer to another question."""
    cursor: str | None = None
    offset: int | None = None
    size: int = 0
    sessions: int = 0
    complete: bool = False


class Export:
    """The sessions that a question finds, as lines."""

    def __init__(self, client: "sessionary.AsyncClient", filters: JsonObject) -> None:
        """Export what the filters let pass."""
        self._client: Final = client
        self._filters: Final = filters

    async def page(self, mark: Mark) -> tuple[AsyncIterator[bytes], Mark]:
        """Read the page at a mark: its sessions as lines, and the mark behind it."""
        place = {"cursor": mark.cursor} if mark.cursor else {"offset": mark.offset}
        page, response = await self._client.list_sessions.with_response(
            limit=limits.PAGE_LIMIT_MAX, **place, **self._filters
        )
        link = response.links.get("next", {}).get("url")
        behind: JsonObject = {"complete": True}
        if link:
            behind = {"cursor": parse_qs(urlsplit(link).query)["cursor"][0]}
        elif mark.cursor is None and len(page) == limits.PAGE_LIMIT_MAX:
            # The vendor's server does not link its pages.
            behind = {"offset": (mark.offset or 0) + len(page)}
        return self._lines(page), msgspec.structs.replace(mark, **behind)

    async def _lines(self, page: list[ListedSession]) -> AsyncIterator[bytes]:
        waiting: deque[asyncio.Task[bytes | None]] = deque()
        try:
            for listed in page:
                waiting.append(asyncio.create_task(self._line(listed)))
                if len(waiting) == _SESSIONS_AT_ONCE and (line := await waiting.popleft()):
                    yield line
            while waiting:
                if line := await waiting.popleft():
                    yield line
        finally:
            for task in waiting:
                task.cancel()

    async def _line(self, listed: ListedSession) -> bytes | None:
        """Read a session as a line; None if it has gone since it was listed."""
        try:
            if listed.total_messages > _WINDOW:
                return await self._long_line(listed)
            return _encode(await self._client.get_session(listed.id)) + b"\n"
        except NotFound:
            return None

    async def _long_line(self, listed: ListedSession) -> bytes:
        # As bytes a long conversation takes a fraction of what it takes as objects.
        session = await self._client.get_session(listed.id, messages_offset=0, messages_limit=_WINDOW)
        window, parts = session.messages, list(map(_encode, session.messages))
        while window and len(parts) < session.total_messages:
            wanted = min(_WINDOW, session.total_messages - len(parts))
            later = await self._client.get_session(listed.id, messages_offset=len(parts), messages_limit=wanted)
            window = later.messages
            parts += map(_encode, window)
        return _with_messages(session, parts) + b"\n"


def _with_messages(session: Session, messages: list[bytes]) -> bytes:
    members: dict[str, Any] = msgspec.structs.asdict(session) | {"messages": msgspec.Raw(b"[%b]" % b",".join(messages))}
    del members["messages_offset"]
    return _encode(members)
