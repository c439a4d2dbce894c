"""The smallest engine: it stores the rows that `apply_commands` returns, and fails where a database would."""

from collections.abc import Sequence

import msgspec

from sessionary.errors import SessionNotFoundError
from sessionary.server.store.base import (
    Clock,
    Command,
    Conversation,
    ListQuery,
    MessageBlock,
    Outcome,
    Page,
    StoredKey,
    StoredSession,
    SweepResult,
    Update,
    Window,
)
from sessionary.server.store.batching import Batcher, BatcherLimits
from sessionary.server.store.rules import (
    BatchResult,
    IdempotencyKeyId,
    SessionKey,
    apply_commands,
    idempotency_key_id,
    session_key,
)
from sessionary.server.store.summaries import build_page, encode_summary
from sessionary.server.store.windows import resolve_window, slice_messages

BlockKey = tuple[str, str, int]


class DictionaryStore:
    """Rows in dictionaries, written in the order the design gives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._batcher = Batcher[Command, Outcome](self._run, BatcherLimits(1_000, 1_000, 1_000, 1_000, 60.0))
        self.sessions: dict[SessionKey, StoredSession] = {}
        self.blocks: dict[BlockKey, MessageBlock] = {}
        self.keys: dict[IdempotencyKeyId, StoredKey] = {}

    async def apply(self, command: Command) -> Outcome:
        """Apply a command, in one batch with those that arrive at the same time."""
        return await self._batcher.put(command)

    async def _run(self, commands: Sequence[Command]) -> list[Outcome]:
        return self.run(commands)

    def run(self, commands: Sequence[Command]) -> list[Outcome]:
        """Read, apply the commands, write."""
        result = apply_commands(commands, self.locked(commands), self.locked_keys(commands), self._clock())
        self._write(result)
        return result.outcomes

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

    def locked_keys(self, commands: Sequence[Command]) -> dict[IdempotencyKeyId, StoredKey]:
        """Read the keys a batch names, also those whose day is over."""
        names = {name for command in commands if (name := idempotency_key_id(command)) is not None}
        return {name: self.keys[name] for name in names if name in self.keys}

    async def fetch(self, organisation: str, session_id: str, window: Window | None = None) -> Conversation:
        """Read a session and its messages."""
        session = self.sessions.get((organisation, session_id))
        if session is None or session.expires_at <= self._clock():
            raise SessionNotFoundError
        blocks = sorted(
            (block.first, block.body) for key, block in self.blocks.items() if key[:2] == (organisation, session_id)
        )
        begin, end = resolve_window(window, session.total_messages)
        messages = slice_messages(blocks, begin, end)
        return Conversation(session.version, encode_summary(session), session.metadata or b"", messages, begin)

    async def list_sessions(self, query: ListQuery) -> Page:
        """Read sessions, newest first."""
        filters = {
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
            and all(value in (None, getattr(session, name)) for name, value in filters.items())
        ]
        found.sort(key=lambda session: session.id, reverse=True)
        rows = [(session.id, encode_summary(session), session.metadata) for session in found[query.offset :]]
        return build_page(rows, query.limit, str)

    async def sweep(self, limit: int) -> SweepResult:
        """DeleteDraft what has expired."""
        now = self._clock()
        due = [key for key, session in self.sessions.items() if session.expires_at <= now][:limit]
        for key in due:
            self._delete(key)
        outdated = [name for name, kept in self.keys.items() if kept.expires_at <= now][:limit]
        for name in outdated:
            del self.keys[name]
        return SweepResult(removed=len(due), more=len(due) == limit or len(outdated) == limit)

    async def close(self) -> None:
        """Finish what was accepted."""
        await self._batcher.drain()

    def _delete(self, key: SessionKey) -> None:
        for block in [name for name in self.blocks if name[:2] == key]:
            del self.blocks[block]
        del self.sessions[key]

    def _write(self, result: BatchResult) -> None:
        for key in result.deleted:
            self._delete(key)
        for session in result.inserted:
            assert (session.organisation, session.id) not in self.sessions, "primary key"
            self.sessions[session.organisation, session.id] = session
        for session in result.updated:
            before = self.sessions[session.organisation, session.id]
            kept = before.metadata if session.metadata is None else session.metadata
            self.sessions[session.organisation, session.id] = msgspec.structs.replace(session, metadata=kept)
        for block in result.blocks:
            name = (block.organisation, block.session_id, block.first)
            assert name not in self.blocks, "primary key"
            self.blocks[name] = block
        for kept_key in result.keys:
            idempotency_key = (kept_key.organisation, kept_key.principal, kept_key.command, kept_key.key)
            earlier = self.keys.get(idempotency_key)
            assert earlier is None or earlier.expires_at <= self._clock(), "only an expired key is replaced"
            self.keys[idempotency_key] = kept_key
