"""Writing: a batch of commands is one transaction, most often of a single statement."""

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from sessionary.errors import SessionaryError, StoreUnavailableError
from sessionary.server.store.base import Clock, Command, Create, Outcome, StoredKey, StoredSession, Update
from sessionary.server.store.postgres.connections import Connection, Rows
from sessionary.server.store.postgres.driver_errors import (
    ConnectionLostError,
    InvalidDataError,
    LockTimeoutError,
    RolledBackError,
    WriteConflictError,
)
from sessionary.server.store.postgres.rows import (
    from_batch_result,
    from_keys_wanted,
    from_sessions_wanted,
    to_key,
    to_session,
)
from sessionary.server.store.rules import (
    BatchResult,
    IdempotencyKeyId,
    SessionKey,
    apply_commands,
    idempotency_key_id,
    session_key,
)

Stored = dict[SessionKey, StoredSession]
Keys = dict[IdempotencyKeyId, StoredKey]

_ATTEMPTS: Final = 3
_SUSPICIOUS_SECONDS: Final = 60.0


class _Wanted:
    """What a batch must know before it can be decided."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands: Final = commands
        self.sessions: Final = _sessions_wanted(commands)
        """In the order in which everyone locks them; true where metadata is to be merged."""
        self.keys: Final = list(dict.fromkeys(filter(None, map(idempotency_key_id, commands))))

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


def _writes_something(result: BatchResult) -> bool:
    return bool(result.deleted or result.inserted or result.updated or result.keys or result.audit)


def _is_guessed(wanted: _Wanted, result: BatchResult) -> bool:
    """Whether a creation was refused whose key was not looked up: no write would fail if it is known."""
    unread = wanted.keys and not wanted.sessions
    return bool(unread) and any(isinstance(outcome, SessionaryError) for outcome in result.outcomes)


class Blocked(Struct, frozen=True):
    """The answer to a command whose session somebody else has locked: nothing was done."""


Answer = Outcome | Blocked


class Writer:
    """Applies batches, one at a time, on a connection of its own."""

    def __init__(self, connection: Connection, clock: Clock, seconds_max: float, *, locking: bool = False) -> None:
        """Own a connection; ``locking`` takes locks from the first.

        What a batch has not come to after ``seconds_max`` is given back as blocked.
        """
        self._connection: Final = connection
        self._clock: Final = clock
        self._seconds_max: Final = seconds_max
        self._locks_until = math.inf if locking else -math.inf

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply a batch whole or not at all, but for what is blocked; raises as ``Connection.call`` does.

        First without locks: read, decide, and write if every session is still of the version that was read and every
        key still new. Where someone else came between, read again, and at last with the sessions locked.
        """
        ends_at = _now() + self._seconds_max
        if _now() < self._locks_until:
            return await self._apply_locked(commands, ends_at)
        wanted = _Wanted(commands)
        for attempt in range(_ATTEMPTS):
            try:
                return await self._apply_at_once(wanted, guess=not attempt)
            except WriteConflictError:
                continue
            except LockTimeoutError:
                break
            except StoreUnavailableError:
                # Whatever it was, a command may be to blame: in a transaction the next error is known to undo it all.
                self._locks_until = _now() + _SUSPICIOUS_SECONDS
                raise
        return await self._apply_locked(commands, ends_at)

    async def _apply_at_once(self, wanted: _Wanted, *, guess: bool) -> list[Answer]:
        stored, keys = await self._read(wanted, guess=guess)
        now = self._clock()
        result = apply_commands(wanted.commands, stored, keys, now)
        if guess and _is_guessed(wanted, result):
            return await self._apply_at_once(wanted, guess=False)
        if _writes_something(result):
            await self._connection.call("write_batch", from_batch_result(result, stored, now), commits=True)
        return [*result.outcomes]

    async def _apply_locked(self, commands: Sequence[Command], ends_at: float) -> list[Answer]:
        """Apply what nobody has locked; where it cannot be told who is to blame, part by part.

        Raises only as long as nothing has been applied: the caller may then do all of it again.
        """
        try:
            return await self._apply_free(commands)
        except (WriteConflictError, LockTimeoutError, InvalidDataError) as error:
            if len(commands) == 1:
                return [_answer_to(error)]
        await self._connection.look()
        answers: dict[int, Answer] = {}
        for part in _parts(commands):
            found = await self._apply_part([commands[place] for place in part], ends_at)
            answers.update(zip(part, found, strict=True))
        return [answers[place] for place in range(len(commands))]

    async def _apply_part(self, commands: Sequence[Command], ends_at: float) -> list[Answer]:
        """Apply a part of a batch; other parts may have been applied, so that nothing is raised."""
        if _now() > ends_at:
            return [Blocked()] * len(commands)
        try:
            return await self._apply_locked(commands, ends_at)
        except StoreUnavailableError as error:
            return [error] * len(commands)
        except (RolledBackError, ConnectionLostError) as error:
            return [StoreUnavailableError(reason=str(error), unchanged=True)] * len(commands)

    async def _apply_free(self, commands: Sequence[Command]) -> list[Answer]:
        wanted = _Wanted(commands)
        async with self._connection.transaction():
            free = await self._lock(wanted)
            stored, keys = await self._read(wanted, guess=False)
            blocked = stored.keys() - free
            free_commands = [command for command in commands if session_key(command) not in blocked]
            now = self._clock()
            result = apply_commands(free_commands, stored, keys, now)
            if _writes_something(result):
                await self._connection.call("write_batch", from_batch_result(result, stored, now))
        outcomes = iter(result.outcomes)
        return [Blocked() if session_key(command) in blocked else next(outcomes) for command in commands]

    async def _read(self, wanted: _Wanted, *, guess: bool) -> tuple[Stored, Keys]:
        if not wanted.sessions and (guess or not wanted.keys):
            # Keys of creations are nearly always new: one that is not makes the write fail and is looked up then, as is
            # that of one that is refused.
            return {}, {}
        bindings = {**from_sessions_wanted(wanted.sessions), **from_keys_wanted(wanted.keys)}
        rows = await self._connection.call("read_batch", bindings)
        return wanted.sessions_found(rows), wanted.keys_found(rows)

    async def _lock(self, wanted: _Wanted) -> set[SessionKey]:
        if not wanted.sessions:
            return set()
        rows = await self._connection.call("lock_sessions", from_sessions_wanted(wanted.sessions))
        places = list(wanted.sessions)
        return {places[row["place"] - 1] for row in rows}


def _answer_to(error: RolledBackError) -> Answer:
    """Answer a command that failed alone: who was overtaken or waits may try again."""
    if isinstance(error, InvalidDataError) or str(error).startswith("UniqueViolation"):
        return StoreUnavailableError(reason=str(error), unchanged=True)
    return Blocked()


def _parts(commands: Sequence[Command]) -> list[list[int]]:
    """Part a batch by organisation, and that of one by sessions, in halves."""
    owners = list(dict.fromkeys(command.organisation for command in commands))
    if len(owners) > 1:
        parts: dict[str, list[int]] = {owner: [] for owner in owners}
        for place, command in enumerate(commands):
            parts[command.organisation].append(place)
        return list(parts.values())
    middle = len(commands) // 2
    return [list(range(middle)), list(range(middle, len(commands)))]


def _now() -> float:
    return asyncio.get_running_loop().time()
