"""The smallest engine: it keeps the rows that `fold` says to write, and fails where a database would."""

from collections.abc import Sequence

import msgspec

from sessionary.errors import SessionNotFoundError
from sessionary.server.store.base import (
    Clock,
    Command,
    Conversation,
    ListQuery,
    Outcome,
    Page,
    StoredKey,
    StoredSession,
    Swept,
    Turn,
    Update,
    Window,
)
from sessionary.server.store.rules import Folded, OnceKey, SessionKey, fold, once_key, session_key
from sessionary.server.store.summaries import page_of, summary_of
from sessionary.server.store.windows import cut, span

TurnKey = tuple[str, str, int]


class FoldedStore:
    """Rows in dictionaries, written in the order the design gives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sessions: dict[SessionKey, StoredSession] = {}
        self.turns: dict[TurnKey, Turn] = {}
        self.keys: dict[OnceKey, StoredKey] = {}

    async def apply(self, commands: Sequence[Command]) -> list[Outcome]:
        """Do what `run` does: nothing here waits."""
        return self.run(commands)

    def run(self, commands: Sequence[Command]) -> list[Outcome]:
        """Lock and read, decide, write."""
        folded = fold(commands, self.locked(commands), self.locked_keys(commands), self._clock())
        self._write(folded)
        return folded.outcomes

    def locked(self, commands: Sequence[Command]) -> dict[SessionKey, StoredSession]:
        """Read the sessions of a batch as the engines do: without metadata that no command merges."""
        merging = {
            session_key(command) for command in commands if isinstance(command, Update) and command.metadata is not None
        }
        found = {key: self.sessions[key] for key in map(session_key, commands) if key in self.sessions}
        return {
            key: session if key in merging else msgspec.structs.replace(session, metadata=None)
            for key, session in found.items()
        }

    def locked_keys(self, commands: Sequence[Command]) -> dict[OnceKey, StoredKey]:
        """Read the keys a batch names, also those whose day is over."""
        names = {name for command in commands if (name := once_key(command)) is not None}
        return {name: self.keys[name] for name in names if name in self.keys}

    async def fetch(self, organisation: str, session_id: str, window: Window | None = None) -> Conversation:
        """Read a session and its messages."""
        session = self.sessions.get((organisation, session_id))
        if session is None or session.expires_at <= self._clock():
            raise SessionNotFoundError
        turns = sorted(
            (turn.first, turn.body) for key, turn in self.turns.items() if key[:2] == (organisation, session_id)
        )
        begin, end = span(window, session.total_messages)
        messages = cut(turns, begin, end)
        return Conversation(session.version, summary_of(session), session.metadata or b"", messages, begin)

    async def list_sessions(self, query: ListQuery) -> Page:
        """Read sessions, newest first."""
        asked = {
            "organisation": query.organisation,
            "user_id": query.user_id,
            "session_group": query.session_group,
            "model": query.model,
            "status": query.status,
        }
        found = [
            session
            for session in self.sessions.values()
            if session.expires_at > self._clock()
            and session.id < query.after
            and all(value in (None, getattr(session, name)) for name, value in asked.items())
        ]
        found.sort(key=lambda session: session.id, reverse=True)
        rows = [(session.id, summary_of(session), session.metadata) for session in found[query.offset :]]
        return page_of(rows, query.limit, str)

    async def sweep(self, limit: int) -> Swept:
        """Remove what has expired."""
        now = self._clock()
        due = [key for key, session in self.sessions.items() if session.expires_at <= now][:limit]
        for key in due:
            self._delete(key)
        outdated = [name for name, kept in self.keys.items() if kept.expires_at <= now][:limit]
        for name in outdated:
            del self.keys[name]
        return Swept(removed=len(due), more=len(due) == limit or len(outdated) == limit)

    async def close(self) -> None:
        """Have nothing to close."""

    def _delete(self, key: SessionKey) -> None:
        for turn in [name for name in self.turns if name[:2] == key]:
            del self.turns[turn]
        del self.sessions[key]

    def _write(self, folded: Folded) -> None:
        for key in folded.deleted:
            self._delete(key)
        for session in folded.inserted:
            assert (session.organisation, session.id) not in self.sessions, "primary key"
            self.sessions[session.organisation, session.id] = session
        for session in folded.updated:
            before = self.sessions[session.organisation, session.id]
            kept = before.metadata if session.metadata is None else session.metadata
            self.sessions[session.organisation, session.id] = msgspec.structs.replace(session, metadata=kept)
        for turn in folded.turns:
            name = (turn.organisation, turn.session_id, turn.first)
            assert name not in self.turns, "primary key"
            self.turns[name] = turn
        for outdated in folded.outdated_keys:
            del self.keys[outdated]
        for kept_key in folded.keys:
            idempotency_key = (kept_key.organisation, kept_key.principal, kept_key.command, kept_key.key)
            assert idempotency_key not in self.keys, "primary key"
            self.keys[idempotency_key] = kept_key
