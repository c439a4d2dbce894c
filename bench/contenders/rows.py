"""Rows for sessionary's tables: what is written past its servers, for HTTP would take too long."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bench.workloads.archive import LIFE_MS, ArchivedSession, archive
from bench.workloads.payload import MESSAGES_PER_APPEND, METADATA, TOKENS_PER_APPEND, turn
from sessionary.server.store.base import StoredSession
from sessionary.server.store.summaries import encode_summary

if TYPE_CHECKING:
    from collections.abc import Iterator

MILLISECOND_NS = 1_000_000
METADATA_JSON = json.dumps(METADATA, separators=(",", ":")).encode()
FIELDS = StoredSession.__struct_fields__
# Taken once, so that a batch has the same ids whenever it is asked for them.
NOW_MS = time.time_ns() // MILLISECOND_NS


@dataclass(frozen=True, slots=True)
class Batch:
    """An archive for an organisation, each of its sessions with so many turns."""

    organisation: str
    sessions: int
    turns: int = 0
    life_ms: int = LIFE_MS

    def session_rows(self, columns: list[str], id_type: type) -> Iterator[tuple[Any, ...]]:
        """Return the rows of the table of sessions, with their columns in this order."""
        body_bytes = sum(len(turn_body(number)) for number in range(self.turns))
        totals = {
            "user_spoke": self.turns > 0,
            "total_messages": self.turns * MESSAGES_PER_APPEND,
            "total_tokens": self.turns * TOKENS_PER_APPEND,
            "total_bytes": body_bytes,
        }
        for session in self._archive():
            row = {**_session_row(session, id_type), **totals, "organisation": self.organisation}
            row["summary"] = _summary(row)
            yield tuple(row[column] for column in columns)

    def turn_rows(self, columns: list[str], id_type: type) -> Iterator[tuple[Any, ...]]:
        """Return the rows of the table of message blocks, with their columns in this order."""
        bodies = [turn_body(number) for number in range(self.turns)]
        for session in self._archive():
            for number, body in enumerate(bodies):
                row = {
                    "organisation": self.organisation,
                    "session_id": _id(session, id_type),
                    "first": number * MESSAGES_PER_APPEND,
                    "count": MESSAGES_PER_APPEND,
                    "tokens": TOKENS_PER_APPEND,
                    "format": 1,
                    "created_at": session.created_at_ms,
                    "body": body,
                }
                yield tuple(row[column] for column in columns)

    def ids(self) -> list[bytes]:
        """Return the ids of the sessions."""
        return [session.id for session in self._archive()]

    def _archive(self) -> Iterator[ArchivedSession]:
        return archive(self.sessions, NOW_MS, self.life_ms)


def turn_body(number: int) -> bytes:
    """Return the body of a message block: its messages as JSON, joined by commas."""
    stamped = [{**message, "created_at": "2026-01-01T00:00:00.000Z"} for message in turn(number)]
    return b",".join(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() for message in stamped)


def _session_row(session: ArchivedSession, id_type: type) -> dict[str, Any]:
    return {
        "id": _id(session, id_type),
        "user_id": session.user,
        "session_group": session.group,
        "title": session.title,
        "model": session.model,
        "status": "active",
        "created_at": session.created_at_ms,
        "updated_at": session.created_at_ms,
        "expires_at": session.expires_at_ms,
        "sweep_after": session.expires_at_ms,
        "version": 1,
        "metadata": METADATA_JSON,
    }


def _summary(row: dict[str, Any]) -> bytes:
    session_id = str(UUID(bytes=row["id"]) if isinstance(row["id"], bytes) else row["id"])
    return encode_summary(StoredSession(**{field: row[field] for field in FIELDS} | {"id": session_id}))


def _id(session: ArchivedSession, id_type: type) -> bytes | UUID:
    return UUID(bytes=session.id) if id_type is UUID else session.id
