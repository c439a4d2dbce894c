"""The organisation with very many sessions: the same rows for every store, loaded past the servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSIONS_PER_USER = 100
SESSIONS_PER_GROUP = 1000
LIFE_MS = 24 * 3600 * 1000
MODEL = "anthropic.claude-sonnet"


@dataclass(frozen=True, slots=True)
class ArchivedSession:
    """One session of the archive; it has a title and metadata but no messages: lists carry none."""

    id: bytes
    user: str
    group: str
    title: str
    model: str
    created_at_ms: int
    expires_at_ms: int


def archive(sessions: int, now_ms: int, life_ms: int = LIFE_MS) -> Iterator[ArchivedSession]:
    """Return the sessions of an archive, oldest first, one created in each millisecond up to now."""
    users = max(1, sessions // SESSIONS_PER_USER)
    groups = max(1, sessions // SESSIONS_PER_GROUP)
    for number in range(sessions):
        created_at_ms = now_ms - sessions + number
        yield ArchivedSession(
            id=_uuid7(created_at_ms, number),
            user=f"user-{number % users:06}",
            group=f"group-{number % groups:04}",
            title=f"How does one keep conversation number {number:07}?",
            model=MODEL,
            created_at_ms=created_at_ms,
            expires_at_ms=now_ms + life_ms,
        )


def _uuid7(at_ms: int, number: int) -> bytes:
    # The number stands where others have chance, so that a script that knows only numbers can name a session.
    return (at_ms << 80 | 0x7000 << 64 | 0x8000 << 48 | number).to_bytes(16, "big")
