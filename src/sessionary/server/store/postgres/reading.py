"""Reading: conversations and pages of lists, in batches."""

from collections.abc import Sequence
from typing import Final

import asyncpg
from msgspec import Struct

from sessionary.errors import SessionaryError, SessionNotFoundError
from sessionary.server.store.base import Clock, Conversation, ListQuery, Page, Window
from sessionary.server.store.postgres.connections import Connection, Rows
from sessionary.server.store.queries import list_statement
from sessionary.server.store.summaries import build_page
from sessionary.server.store.windows import resolve_window, slice_messages


class FetchRequest(Struct, frozen=True):
    """Which conversation to read, and which window of it."""

    organisation: str
    session_id: str
    window: Window | None


class TooLong(Struct, frozen=True):
    """The result for a conversation that is too long for this reader."""


FetchResult = Conversation | TooLong | SessionaryError


class _Part(Struct, frozen=True):
    """The messages to read of a session: from number ``begin`` up to, not including, ``end``."""

    request: FetchRequest
    row: asyncpg.Record
    begin: int
    end: int


class Reader:
    """Reads on a connection of its own, one batch at a time."""

    def __init__(self, connection: Connection, clock: Clock, bytes_max: int) -> None:
        """Own a connection; a conversation of more than ``bytes_max`` bytes is too long for this reader."""
        self._connection: Final = connection
        self._clock: Final = clock
        self._bytes_max: Final = bytes_max

    async def fetch(self, requests: Sequence[FetchRequest]) -> list[FetchResult]:
        """Read conversations; equal requests are read once."""
        unique = list(dict.fromkeys(requests))
        results: dict[FetchRequest, FetchResult] = {}
        parts: list[_Part] = []
        for row in await self._fetch_sessions(unique):
            request = unique[row["ordinal"] - 1]
            if row["total_bytes"] > self._bytes_max:
                results[request] = TooLong()
            elif request.window is None:
                results[request] = _conversation(row, row["messages"] or b"", 0)
            else:
                parts.append(_Part(request, row, *resolve_window(request.window, row["total_messages"])))
        if parts:
            results.update(await self._fetch_parts(parts))
        return [results.get(request) or SessionNotFoundError() for request in requests]

    async def list_pages(self, queries: Sequence[ListQuery]) -> list[Page]:
        """Read pages of live sessions; the pages that use the same index are read by one statement."""
        pages: dict[int, Page] = {}
        for statement in dict.fromkeys(map(list_statement, queries)):
            numbers = [number for number, query in enumerate(queries) if list_statement(query) == statement]
            found = await self._list_sessions(statement, [queries[number] for number in numbers])
            pages.update(zip(numbers, found, strict=True))
        return [pages[number] for number in range(len(queries))]

    async def _list_sessions(self, statement: str, queries: Sequence[ListQuery]) -> list[Page]:
        bindings = {
            **{name: [getattr(query, name) for query in queries] for name in ListQuery.__struct_fields__},
            "limit": [query.limit + 1 for query in queries],
            "now": self._clock(),
        }
        rows: list[list[asyncpg.Record]] = [[] for _ in queries]
        for row in await self._connection.call(statement, bindings):
            rows[row[0] - 1].append(row)
        return [build_page(found, query.limit, str) for found, query in zip(rows, queries, strict=True)]

    async def _fetch_sessions(self, requests: Sequence[FetchRequest]) -> Rows:
        bindings = {
            "organisation": [request.organisation for request in requests],
            "id": [request.session_id for request in requests],
            "whole": [request.window is None for request in requests],
            "bytes_max": self._bytes_max,
            "now": self._clock(),
        }
        return await self._connection.call("fetch_sessions", bindings)

    async def _fetch_parts(self, parts: Sequence[_Part]) -> dict[FetchRequest, FetchResult]:
        # Blocks never change, so up to the end that was read before they are still the same.
        bindings = {
            "organisation": [part.request.organisation for part in parts],
            "id": [part.request.session_id for part in parts],
            "from": [part.begin for part in parts],
            "until": [part.end for part in parts],
        }
        blocks: list[list[tuple[int, bytes]]] = [[] for _ in parts]
        for row in await self._connection.call("fetch_blocks", bindings):
            blocks[row["ordinal"] - 1].append((row["first"], row["body"]))
        return {
            part.request: _conversation(part.row, slice_messages(found, part.begin, part.end), part.begin)
            for part, found in zip(parts, blocks, strict=True)
            # A session with messages but no blocks has been deleted since.
            if found or part.begin == part.end
        }


def _conversation(row: asyncpg.Record, messages: bytes, offset: int) -> Conversation:
    return Conversation(row["version"], row["summary"], row["metadata"], messages, offset)
