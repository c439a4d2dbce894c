"""Writing: a batch of commands is read by one statement, and written by another one, which is also its commit."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from sessionary.errors import SessionaryError, StoreUnavailableError
from sessionary.server.store.base import Clock, Command, Outcome, StoredKey, StoredSession
from sessionary.server.store.postgres.connections import Connection, Rows
from sessionary.server.store.postgres.driver_errors import (
    ConnectionLostError,
    InvalidDataError,
    LockTimeoutError,
    RolledBackError,
    WriteConflictError,
)
from sessionary.server.store.postgres.rows import (
    bind_key_ids,
    bind_session_keys,
    bind_write_batch,
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
    sessions_to_read,
)

Stored = dict[SessionKey, StoredSession]
Keys = dict[IdempotencyKeyId, StoredKey]

_ATTEMPTS: Final = 8
_TRANSACTION_SECONDS: Final = 60.0
"""After a write of unknown outcome, batches are written in explicit transactions for so long."""


class _Batch:
    """The commands of a batch, and what must be read to apply them."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands: Final = commands
        self.sessions: Final = dict(sorted(sessions_to_read(commands).items()))
        """Sorted, so that all servers lock rows in one order; true where metadata is to be merged."""
        self.keys: Final = list(dict.fromkeys(filter(None, map(idempotency_key_id, commands))))

    def sessions_in(self, rows: Rows) -> Stored:
        sessions = list(self.sessions)
        found = [(sessions[row["ordinal"] - 1], row) for row in rows if row["user_id"] is not None]
        return {key: to_session(key[0], key[1], row) for key, row in found}

    def keys_in(self, rows: Rows) -> Keys:
        found = [(self.keys[row["ordinal"] - 1], row) for row in rows if row["fingerprint"] is not None]
        return {key_id: to_key(key_id, row) for key_id, row in found}


def _has_changes(result: BatchResult) -> bool:
    return bool(result.deleted or result.inserted or result.updated or result.keys or result.audit)


def _needs_keys(batch: _Batch, result: BatchResult) -> bool:
    """Return whether a creation was refused although its key may be known: its key was not read, and no write fails."""
    unread = batch.keys and not batch.sessions
    return bool(unread) and any(isinstance(outcome, SessionaryError) for outcome in result.outcomes)


class Blocked(Struct, frozen=True):
    """The result for a command whose session is locked by another transaction, or keeps changing: nothing was done."""


Result = Outcome | Blocked


class Writer:
    """Applies batches, one at a time, on a connection of its own.

    There is one protocol: read without locks, apply the commands, and write if each session still has the version that
    was read and each idempotency key is still new. On a conflict read again, a few times; then halve the batch. If
    another transaction holds a lock, leave out the sessions that are locked.
    """

    def __init__(
        self, connection: Connection, clock: Clock, seconds_max: float, *, expects_locks: bool = False
    ) -> None:
        """Own a connection; ``expects_locks`` looks for locked sessions before it writes, instead of after a timeout.

        Commands that were not reached within ``seconds_max`` are returned as blocked.
        """
        self._connection: Final = connection
        self._clock: Final = clock
        self._seconds_max: Final = seconds_max
        self._expects_locks: Final = expects_locks
        self._transactions_until = -math.inf

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """Apply a batch; the results are in the order of the commands.

        Raises as ``Connection.call`` does, but only while nothing has been applied: the caller may then repeat it all.
        """
        ends_at = _now() + self._seconds_max
        if self._expects_locks:
            return await self._apply_unlocked(commands, ends_at)
        return await self._apply(commands, ends_at)

    async def _apply(self, commands: Sequence[Command], ends_at: float) -> list[Result]:
        try:
            return await self._apply_whole(commands)
        except LockTimeoutError:
            return await self._apply_unlocked(commands, ends_at)
        except (WriteConflictError, InvalidDataError) as error:
            # A newer program that has changed the schema makes every write conflict.
            await self._connection.check_schema()
            return await self._apply_halves(commands, ends_at, error)

    async def _apply_unlocked(self, commands: Sequence[Command], ends_at: float) -> list[Result]:
        """Apply the commands whose sessions no other transaction has locked."""
        locked = await self._find_locked(commands)
        free = [command for command in commands if session_key(command) not in locked]
        try:
            results = iter(await self._apply_whole(free))
        except (LockTimeoutError, WriteConflictError, InvalidDataError) as error:
            results = iter(await self._apply_halves(free, ends_at, error))
        return [Blocked() if session_key(command) in locked else next(results) for command in commands]

    async def _apply_halves(self, commands: Sequence[Command], ends_at: float, error: RolledBackError) -> list[Result]:
        """Apply a batch that failed in two parts: so it comes down to the commands that cannot be applied."""
        if len(commands) == 1:
            return [_result_of(error)]
        results: dict[int, Result] = {}
        for half in _halves(commands):
            applied = await self._apply_half([commands[number] for number in half], ends_at)
            results.update(zip(half, applied, strict=True))
        return [results[number] for number in range(len(commands))]

    async def _apply_half(self, commands: Sequence[Command], ends_at: float) -> list[Result]:
        """Apply one half; nothing is raised, for the other half may have been applied."""
        if _now() > ends_at:
            return [Blocked()] * len(commands)
        try:
            return await self._apply(commands, ends_at)
        except StoreUnavailableError as error:
            return [error] * len(commands)
        except (RolledBackError, ConnectionLostError) as error:
            return [StoreUnavailableError(reason=str(error), unchanged=True)] * len(commands)

    async def _apply_whole(self, commands: Sequence[Command]) -> list[Result]:
        """Apply a batch whole or not at all; on a conflict it is read and applied again."""
        batch = _Batch(commands)
        for attempt in range(1, _ATTEMPTS):
            try:
                return await self._attempt(batch, reads_new_keys=attempt > 1)
            except WriteConflictError:
                continue
        return await self._attempt(batch, reads_new_keys=True)

    async def _attempt(self, batch: _Batch, *, reads_new_keys: bool) -> list[Result]:
        stored, keys = await self._read(batch, reads_new_keys=reads_new_keys)
        now = self._clock()
        result = apply_commands(batch.commands, stored, keys, now)
        if not reads_new_keys and _needs_keys(batch, result):
            return await self._attempt(batch, reads_new_keys=True)
        if _has_changes(result):
            await self._write(bind_write_batch(result, stored, now))
        return [*result.outcomes]

    async def _read(self, batch: _Batch, *, reads_new_keys: bool) -> tuple[Stored, Keys]:
        if not batch.sessions and not (reads_new_keys and batch.keys):
            # The keys of creations are nearly always new. One that is not makes the write fail, and is read then.
            return {}, {}
        bindings = {**bind_session_keys(batch.sessions), **bind_key_ids(batch.keys)}
        rows = await self._connection.call("read_batch", bindings)
        return batch.sessions_in(rows), batch.keys_in(rows)

    async def _write(self, bindings: dict[str, Any]) -> None:
        if _now() < self._transactions_until:
            async with self._connection.transaction():
                await self._connection.call("write_batch", bindings)
            return
        try:
            await self._connection.call("write_batch", bindings, commits=True, may_conflict=True)
        except StoreUnavailableError:
            # A command may have caused it, and come again. In a transaction an error of the statement is known to undo
            # everything, so that the batch can be halved.
            self._transactions_until = _now() + _TRANSACTION_SECONDS
            raise

    async def _find_locked(self, commands: Sequence[Command]) -> set[SessionKey]:
        """Find the sessions that another transaction has locked; a lock on a whole table is waited for."""
        batch = _Batch(commands)
        async with self._connection.transaction(commits=False):
            if not batch.sessions:
                return set()
            rows = await self._connection.call("find_unlocked_sessions", bind_session_keys(batch.sessions))
            stored, _ = await self._read(batch, reads_new_keys=False)
        sessions = list(batch.sessions)
        return stored.keys() - {sessions[row["ordinal"] - 1] for row in rows}


def _result_of(error: RolledBackError) -> Result:
    """Return the result of a command that failed alone: after a conflict or a lock it may be tried again."""
    if isinstance(error, InvalidDataError) or str(error).startswith("UniqueViolation"):
        return StoreUnavailableError(reason=str(error), unchanged=True)
    return Blocked()


def _halves(commands: Sequence[Command]) -> list[list[int]]:
    """Halve a batch by organisation; the commands of one organisation are halved in their order."""
    organisations = list(dict.fromkeys(command.organisation for command in commands))
    middle = len(organisations) // 2
    first = set(organisations[:middle])
    numbers = range(len(commands))
    if not first:
        return [list(numbers[: len(commands) // 2]), list(numbers[len(commands) // 2 :])]
    return [
        [number for number in numbers if commands[number].organisation in first],
        [number for number in numbers if commands[number].organisation not in first],
    ]


def _now() -> float:
    return asyncio.get_running_loop().time()
