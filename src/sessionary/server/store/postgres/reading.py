"""Reading: conversations and pages of lists, in batches."""

from collections.abc import Sequence
from typing import Final

import asyncpg
from msgspec import Struct

from sessionary.errors import SessionaryError, SessionNotFoundError
from sessionary.server.store.base import Clock, Conversation, ListQuery, Page, Window
from sessionary.server.store.postgres.connections import Connection, Rows
from sessionary.server.store.summaries import build_page
from sessionary.server.store.windows import cut, span


class Question(Struct, frozen=True):
    """Which conversation to read, and which part of it."""

    organisation: str
    session_id: str
    window: Window | None


class TooLong(Struct, frozen=True):
    """The answer for a conversation that is too long to be read here."""


Answer = Conversation | TooLong | SessionaryError


class _Part(Struct, frozen=True):
    """A window on a session that was found: the messages from one number up to another."""

    question: Question
    row: asyncpg.Record
    begin: int
    end: int


class Reader:
    """Reads on a connection of its own, one batch at a time."""

    def __init__(self, connection: Connection, clock: Clock, bytes_max: int) -> None:
        """Own a connection; a conversation of more than ``bytes_max`` is too long to be read here."""
        self._connection: Final = connection
        self._clock: Final = clock
        self._bytes_max: Final = bytes_max

    async def fetch(self, questions: Sequence[Question]) -> list[Answer]:
        """Read conversations; what is asked twice is read once."""
        places = list(dict.fromkeys(questions))
        answers: dict[Question, Answer] = {}
        parts: list[_Part] = []
        for row in await self._fetch_sessions(places):
            question = places[row["ordinal"] - 1]
            if row["total_bytes"] > self._bytes_max:
                answers[question] = TooLong()
            elif question.window is None:
                answers[question] = _conversation(row, row["messages"] or b"", 0)
            else:
                parts.append(_Part(question, row, *span(question.window, row["total_messages"])))
        if parts:
            answers.update(await self._fetch_parts(parts))
        return [answers.get(question) or SessionNotFoundError() for question in questions]

    async def list_pages(self, queries: Sequence[ListQuery]) -> list[Page]:
        """Read pages of live sessions: those that one index orders in one statement."""
        pages: dict[int, Page] = {}
        for statement in dict.fromkeys(map(_statement_for, queries)):
            places = [ordinal for ordinal, query in enumerate(queries) if _statement_for(query) == statement]
            found = await self._list_sessions(statement, [queries[ordinal] for ordinal in places])
            pages.update(zip(places, found, strict=True))
        return [pages[ordinal] for ordinal in range(len(queries))]

    async def _list_sessions(self, statement: str, queries: Sequence[ListQuery]) -> list[Page]:
        bindings = {
            "organisation": [query.organisation for query in queries],
            "user_id": [query.user_id for query in queries],
            "session_group": [query.session_group for query in queries],
            "model": [query.model for query in queries],
            "status": [query.status for query in queries],
            "after": [query.after for query in queries],
            "limit": [query.limit + 1 for query in queries],
            "offset": [query.offset for query in queries],
            "now": self._clock(),
        }
        rows: list[list[asyncpg.Record]] = [[] for _ in queries]
        for row in await self._connection.call(statement, bindings):
            rows[row[0] - 1].append(row)
        return [build_page(found, query.limit, str) for found, query in zip(rows, queries, strict=True)]

    async def _fetch_sessions(self, questions: Sequence[Question]) -> Rows:
        bindings = {
            "organisation": [question.organisation for question in questions],
            "id": [question.session_id for question in questions],
            "whole": [question.window is None for question in questions],
            "bytes_max": self._bytes_max,
            "now": self._clock(),
        }
        return await self._connection.call("fetch_sessions", bindings)

    async def _fetch_parts(self, parts: Sequence[_Part]) -> dict[Question, Answer]:
        # Turns never change: up to the end that the session had a moment ago, they are those of that moment.
        bindings = {
            "organisation": [part.question.organisation for part in parts],
            "id": [part.question.session_id for part in parts],
            "from": [part.begin for part in parts],
            "until": [part.end for part in parts],
        }
        blocks: list[list[tuple[int, bytes]]] = [[] for _ in parts]
        for row in await self._connection.call("fetch_blocks", bindings):
            blocks[row["ordinal"] - 1].append((row["first"], row["body"]))
        return {
            part.question: _conversation(part.row, cut(found, part.begin, part.end), part.begin)
            for part, found in zip(parts, blocks, strict=True)
            # A session with messages but no blocks was removed since.
            if found or part.begin == part.end
        }


def _conversation(row: asyncpg.Record, messages: bytes, offset: int) -> Conversation:
    return Conversation(row["version"], row["summary"], row["metadata"], messages, offset)


def _statement_for(query: ListQuery) -> str:
    if query.user_id is not None:
        return "list_sessions_by_user"
    if query.session_group is not None:
        return "list_sessions_by_group"
    return "list_sessions" if query.model is None else "list_sessions_by_model"
