"""Writing: a batch of commands is one transaction, most often of a single statement."""

from collections.abc import Sequence
from typing import Final

from sessionary.errors import SessionaryError
from sessionary.store.base import Clock, Command, Create, Outcome, StoredKey, StoredSession, Update
from sessionary.store.deciding import Folded, OnceKey, SessionKey, fold, once_key, session_key
from sessionary.store.postgres.connections import Connection, Refused, Rows
from sessionary.store.postgres.rows import (
    from_folded,
    from_keys_wanted,
    from_sessions_wanted,
    to_key,
    to_session,
)

Stored = dict[SessionKey, StoredSession]
Keys = dict[OnceKey, StoredKey]


class _Wanted:
    """What a batch must know before it can be decided."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands: Final = commands
        self.sessions: Final = _sessions_wanted(commands)
        """In the order in which everyone locks them; true where metadata is to be merged."""
        self.keys: Final = list(dict.fromkeys(filter(None, map(once_key, commands))))

    def sessions_found(self, rows: Rows) -> Stored:
        places = list(self.sessions)
        found = [(places[row["place"] - 1], row) for row in rows if row["user_id"] is not None]
        return {key: to_session(key[0], key[1], row) for key, row in found}

    def keys_found(self, rows: Rows) -> Keys:
        found = [(self.keys[row["place"] - 1], row) for row in rows if row["fingerprint"] is not None]
        return {name: to_key(name, row) for name, row in found}


def _sessions_wanted(commands: Sequence[Command]) -> dict[SessionKey, bool]:
    wanted: dict[SessionKey, bool] = {}
    for command in commands:
        if not isinstance(command, Create):
            key = session_key(command)
            merges = isinstance(command, Update) and command.metadata is not None
            wanted[key] = merges or wanted.get(key, False)
    return dict(sorted(wanted.items()))


def _writes_something(folded: Folded) -> bool:
    return bool(folded.deleted or folded.inserted or folded.updated or folded.keys or folded.audit)


def _is_guessed(wanted: _Wanted, folded: Folded) -> bool:
    """Whether a creation was refused whose key was not looked up: no write would fail if it is known."""
    unread = wanted.keys and not wanted.sessions
    return bool(unread) and any(isinstance(outcome, SessionaryError) for outcome in folded.outcomes)


class Writer:
    """Applies batches, one at a time, on a connection of its own."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        """Own a connection."""
        self._connection: Final = connection
        self._clock: Final = clock

    async def apply(self, commands: Sequence[Command]) -> list[Outcome]:
        """Apply a batch whole or not at all; raises as ``Connection.call`` does.

        First without locks: read, decide, and write if every session is still of the version that was read. Where
        someone else came between, once more with the sessions locked.
        """
        wanted = _Wanted(commands)
        try:
            return await self._apply_at_once(wanted)
        except Refused:
            return await self._apply_locked(wanted)

    async def _apply_at_once(self, wanted: _Wanted) -> list[Outcome]:
        stored, keys = await self._read(wanted)
        folded = fold(wanted.commands, stored, keys, self._clock())
        if folded.outdated_keys or _is_guessed(wanted, folded):
            # The same statement cannot both delete a key and insert it anew.
            return await self._apply_locked(wanted)
        if _writes_something(folded):
            await self._connection.call("write_batch", from_folded(folded, stored), commits=True)
        return folded.outcomes

    async def _apply_locked(self, wanted: _Wanted) -> list[Outcome]:
        async with self._connection.transaction():
            stored, keys = await self._lock(wanted)
            folded = fold(wanted.commands, stored, keys, self._clock())
            if folded.outdated_keys:
                await self._connection.call("delete_keys", from_keys_wanted(folded.outdated_keys))
            await self._connection.call("write_batch", from_folded(folded, stored))
        return folded.outcomes

    async def _read(self, wanted: _Wanted) -> tuple[Stored, Keys]:
        if not wanted.sessions:
            # Keys of creations are nearly always new: one that is not makes the write fail and is looked up then, as is
            # that of one that is refused.
            return {}, {}
        bindings = {**from_sessions_wanted(wanted.sessions), **from_keys_wanted(wanted.keys)}
        rows = await self._connection.call("read_batch", bindings)
        return wanted.sessions_found(rows), wanted.keys_found(rows)

    async def _lock(self, wanted: _Wanted) -> tuple[Stored, Keys]:
        sessions = await self._connection.call("lock_sessions", from_sessions_wanted(wanted.sessions))
        keys = await self._connection.call("lock_keys", from_keys_wanted(wanted.keys)) if wanted.keys else []
        return wanted.sessions_found(sessions), wanted.keys_found(keys)
