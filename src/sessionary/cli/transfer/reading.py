"""Reading sessions as lines, page by page, a few at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct

import sessionary
from sessionary import constants
from sessionary.client.results import ListedSession
from sessionary.errors import NotFoundError
from sessionary.models import PURPOSE, JsonObject

_SESSIONS_AT_ONCE: Final = 4
"""More at once would not be faster."""
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""How much may be on its way at once, if sessions and messages are as long as the ones before them."""

_encode: Final = msgspec.json.Encoder().encode


Line = list[bytes]
"""A session's line in pieces, to be written one after another."""


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
        # How long they are shows only when they are there: begin with the worst.
        self._session_length = _BYTES_AT_ONCE
        self._message_length = constants.MESSAGE_BYTES_MAX

    async def page(self, mark: Mark) -> tuple[AsyncIterator[Line | None], Mark]:
        """Read the page at a mark: its sessions as lines, None where one went meanwhile; and the mark behind it."""
        place = {"cursor": mark.cursor} if mark.cursor else {"offset": mark.offset}
        response = await self._client.with_raw_response.list_sessions(
            limit=constants.PAGE_LIMIT_MAX, **place, **self._filters, headers={PURPOSE: "export"}
        )
        page = response.parse().data
        link = response.http_response.links.get("next", {}).get("url")
        behind: JsonObject = {"complete": True}
        if link:
            behind = {"cursor": parse_qs(urlsplit(link).query)["cursor"][0]}
        elif mark.cursor is None and len(page) == constants.PAGE_LIMIT_MAX:
            # The vendor's server does not link its pages.
            behind = {"offset": (mark.offset or 0) + len(page)}
        return self._lines(page), msgspec.structs.replace(mark, **behind)

    async def _lines(self, page: list[ListedSession]) -> AsyncIterator[Line | None]:
        waiting: deque[asyncio.Task[Line | None]] = deque()
        try:
            for listed in page:
                while waiting and len(waiting) >= self._at_once():
                    yield await waiting.popleft()
                waiting.append(asyncio.create_task(self._line(listed)))
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()

    def _at_once(self) -> int:
        return max(1, min(_SESSIONS_AT_ONCE, _BYTES_AT_ONCE // self._session_length))

    def _window(self) -> int:
        return max(1, min(constants.WINDOW_LIMIT_MAX, _BYTES_AT_ONCE // self._message_length))

    async def _line(self, listed: ListedSession) -> Line | None:
        """Read a session as a line; None if it has gone since it was listed."""
        try:
            if listed.total_messages > self._window():
                line = await self._long_line(listed)
            else:
                line = [_encode((await self._client.get_session(listed.id)).to_dict())]
                self._learn(len(line[0]), listed.total_messages)
        except NotFoundError:
            return None
        self._session_length = max(sum(map(len, line)), self._session_length // 2)
        return line

    async def _long_line(self, listed: ListedSession) -> Line:
        # As bytes a long conversation takes a fraction of what it takes as objects.
        session = await self._client.get_session(listed.id, messages_offset=0, messages_limit=self._window())
        messages, read = session.messages, len(session.messages)
        whole = msgspec.structs.replace(session, messages=[], messages_offset=None)
        head, nothing, tail = _encode(whole.to_dict()).partition(b'"messages":[]')
        line = [head, nothing[:-1], self._inner(messages)]
        while messages and read < session.total_messages:
            wanted = min(self._window(), session.total_messages - read)
            later = await self._client.get_session(listed.id, messages_offset=read, messages_limit=wanted)
            messages = later.messages
            read += len(messages)
            line += [b"," if messages else b"", self._inner(messages)]
        return [*line, b"]", tail]

    def _inner(self, messages: list[JsonObject]) -> bytes:
        """Write messages without the brackets around them."""
        written = _encode(messages)[1:-1]
        self._learn(len(written), len(messages))
        return written

    def _learn(self, length: int, messages: int) -> None:
        self._message_length = max(length // max(1, messages), self._message_length // 2)
