"""Reads sessions page by page, a few at a time, and encodes each as a line of JSON."""

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
"""More would not be faster."""
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""The target size of concurrent responses, estimated from the sizes of earlier sessions and messages."""

_encode: Final = msgspec.json.Encoder().encode


Line = list[bytes]
"""A session's line as chunks, to be written in order."""


class Checkpoint(Struct, frozen=True):
    """Progress of an export: the first ``size`` bytes of the file hold all pages before ``cursor`` or ``offset``."""

    query: JsonObject
    """Server, organisation and filters; only an export with the same query can be resumed."""
    cursor: str | None = None
    offset: int | None = None
    size: int = 0
    sessions: int = 0
    complete: bool = False


class Exporter:
    """Yields the matching sessions as lines."""

    def __init__(self, client: "sessionary.AsyncClient", filters: JsonObject) -> None:
        """Export the sessions that match the filters."""
        self._client: Final = client
        self._filters: Final = filters
        # Sizes are unknown before the first response: start with the largest possible ones.
        self._session_length = _BYTES_AT_ONCE
        self._message_length = constants.MESSAGE_BYTES_MAX

    async def page(self, checkpoint: Checkpoint) -> tuple[AsyncIterator[Line | None], Checkpoint]:
        """Read the page at a checkpoint: its lines (None for sessions deleted meanwhile) and the next checkpoint."""
        position: JsonObject = {"cursor": checkpoint.cursor} if checkpoint.cursor else {"offset": checkpoint.offset}
        response = await self._client.with_raw_response.list_sessions(
            limit=constants.PAGE_LIMIT_MAX, **position, **self._filters, headers={PURPOSE: "export"}
        )
        page = response.parse().data
        link = response.http_response.links.get("next", {}).get("url")
        following: JsonObject = {"complete": True}
        if link:
            following = {"cursor": parse_qs(urlsplit(link).query)["cursor"][0]}
        elif checkpoint.cursor is None and len(page) == constants.PAGE_LIMIT_MAX:
            # The vendor's server sends no Link header.
            following = {"offset": (checkpoint.offset or 0) + len(page)}
        return self._lines(page), msgspec.structs.replace(checkpoint, **following)

    async def _lines(self, page: list[ListedSession]) -> AsyncIterator[Line | None]:
        pending: deque[asyncio.Task[Line | None]] = deque()
        try:
            for listed in page:
                while pending and len(pending) >= self._concurrency():
                    yield await pending.popleft()
                pending.append(asyncio.create_task(self._line(listed)))
            while pending:
                yield await pending.popleft()
        finally:
            for task in pending:
                task.cancel()

    def _concurrency(self) -> int:
        return max(1, min(_SESSIONS_AT_ONCE, _BYTES_AT_ONCE // self._session_length))

    def _window_size(self) -> int:
        return max(1, min(constants.WINDOW_LIMIT_MAX, _BYTES_AT_ONCE // self._message_length))

    async def _line(self, listed: ListedSession) -> Line | None:
        """Read a session as a line; None if it was deleted after it was listed."""
        try:
            if listed.total_messages > self._window_size():
                line = await self._long_line(listed)
            else:
                line = [_encode((await self._client.get_session(listed.id)).to_dict())]
                self._record_sizes(len(line[0]), listed.total_messages)
        except NotFoundError:
            return None
        self._session_length = max(sum(map(len, line)), self._session_length // 2)
        return line

    async def _long_line(self, listed: ListedSession) -> Line:
        # Encoded, a long conversation takes a fraction of the memory that objects take.
        session = await self._client.get_session(listed.id, messages_offset=0, messages_limit=self._window_size())
        messages, read = session.messages, len(session.messages)
        without_messages = msgspec.structs.replace(session, messages=[], messages_offset=None)
        head, empty_list, tail = _encode(without_messages.to_dict()).partition(b'"messages":[]')
        line = [head, empty_list[:-1], self._encode_messages(messages)]
        while messages and read < session.total_messages:
            count = min(self._window_size(), session.total_messages - read)
            later = await self._client.get_session(listed.id, messages_offset=read, messages_limit=count)
            messages = later.messages
            read += len(messages)
            line += [b"," if messages else b"", self._encode_messages(messages)]
        return [*line, b"]", tail]

    def _encode_messages(self, messages: list[JsonObject]) -> bytes:
        """Encode messages without the surrounding brackets."""
        encoded = _encode(messages)[1:-1]
        self._record_sizes(len(encoded), len(messages))
        return encoded

    def _record_sizes(self, length: int, messages: int) -> None:
        self._message_length = max(length // max(1, messages), self._message_length // 2)
