"""The only connection that writes: a batch of commands is one transaction on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import apsw
from msgspec.structs import asdict

from sessionary.constants import AUDIT_RETENTION_MILLISECONDS
from sessionary.errors import StoreUnavailableError
from sessionary.server.store.base import (
    AuditRecord,
    Clock,
    Command,
    Outcome,
    StoredKey,
    StoredSession,
    StoredToken,
    SweepResult,
)
from sessionary.server.store.queries import read_queries
from sessionary.server.store.rules import (
    BatchResult,
    IdempotencyKeyId,
    SessionKey,
    apply_commands,
    idempotency_key_id,
    sessions_to_read,
)
from sessionary.server.store.sqlite import connections
from sessionary.server.store.sqlite.migrations import check_program
from sessionary.server.store.sqlite.rows import (
    Bindings,
    Row,
    from_block,
    from_session,
    id_to_bytes,
    to_session,
)
from sessionary.server.store.token_rows import bind_token, to_token, token_audit_record

Result = TypeVar("Result")

_SWEPT_BYTES_MAX: Final = 32 * 1024 * 1024
"""One transaction deletes at most about so many bytes, because writers wait for it."""


class Writer:
    """Owns the write connection; used by one thread at a time."""

    def __init__(self, connection: apsw.Connection, clock: Clock, busy_seconds: float) -> None:
        """Own a connection to a migrated file; another process's lock is waited for at most ``busy_seconds``."""
        self._clock: Final = clock
        self._busy_milliseconds: Final = int(busy_seconds * 1000)
        self._sql: Final = read_queries("sqlite")
        self._connection: Final = connection
        self.writes: int = 0
        """How many transactions wrote to the log; one without changes does not show whether the disk works."""
        connection.set_wal_hook(self._count)

    def _count(self, *_: object) -> int:
        self.writes += 1
        return apsw.SQLITE_OK

    def apply(self, commands: Sequence[Command]) -> list[Outcome]:
        """Apply a batch in one transaction; if a constraint fails, halve it until only the bad command fails."""
        try:
            return self._transaction(lambda: self._apply(commands))
        except apsw.ConstraintError:
            if len(commands) == 1:
                return [StoreUnavailableError()]
            middle = len(commands) // 2
            return self.apply(commands[:middle]) + self.apply(commands[middle:])

    def prepare(self, commands: Sequence[Command]) -> list[Outcome] | None:
        """Do everything of a batch except the commit, if possible without waiting; otherwise return None."""
        self._connection.set_busy_timeout(0)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            check_program(self._connection)
            return self._apply(commands)
        except (apsw.BusyError, apsw.ConstraintError):
            self.undo()
            return None
        except BaseException:
            self.undo()
            raise
        finally:
            self._connection.set_busy_timeout(self._busy_milliseconds)

    def commit(self) -> None:
        """Commit what was prepared."""
        try:
            self._connection.execute("COMMIT")
        except BaseException:
            self.undo()
            raise

    def sweep(self, limit: int) -> tuple[SweepResult, bool]:
        """Delete what has expired; return also whether anything was deleted."""
        return self._transaction(lambda: self._sweep(limit))

    def create_token(self, token: StoredToken, actor: str) -> None:
        """Store a token, and who created it."""

        def create() -> None:
            self._connection.execute(self._sql["insert_token"], bind_token(token))
            self._insert_audit(token_audit_record("create_token", token, actor))

        self._transaction(create)

    def revoke_token(self, token_id: str, actor: str) -> StoredToken | None:
        """Revoke a token, unless it is revoked, and store who did; None if there is no such token."""

        def revoke() -> StoredToken | None:
            bindings = {"id": token_id, "now": self._clock()}
            for row in self._connection.execute(self._sql["revoke_token"], bindings).fetchall():
                self._insert_audit(token_audit_record("revoke_token", to_token(row), actor))
            found = self._connection.execute(self._sql["find_tokens"], {"id": token_id}).fetchall()
            return to_token(found[0]) if found else None

        return self._transaction(revoke)

    def note_token_uses(self, used_at: Mapping[str, int]) -> None:
        """Store when tokens were last used."""
        uses = [{"id": token_id, "used_at": at} for token_id, at in used_at.items()]
        self._transaction(lambda: self._connection.executemany(self._sql["use_tokens"], uses))

    def note(self, record: AuditRecord) -> None:
        """Store an audit record."""
        self._transaction(lambda: self._insert_audit(record))

    def try_write(self, commits: bool) -> None:  # noqa: FBT001 - called by position
        """Begin a transaction and roll back or, if it ``commits``, commit a write that changes nothing."""
        if commits:
            version = self._connection.pragma("user_version")
            self._transaction(lambda: self._connection.pragma("user_version", version))
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self.undo()

    def interrupt(self) -> None:
        """Make a statement in another thread end with an error; its transaction is rolled back."""
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection."""
        connections.close(self._connection)

    def _transaction(self, body: Callable[[], Result]) -> Result:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            check_program(self._connection)
            result = body()
        except BaseException:
            self.undo()
            raise
        self.commit()
        return result

    def undo(self) -> None:
        """Roll back what was prepared."""
        # After some failures SQLite has rolled back by itself.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _apply(self, commands: Sequence[Command]) -> list[Outcome]:
        stored = self._read_sessions(commands)
        keys = self._read_keys(commands)
        result = apply_commands(commands, stored, keys, self._clock())
        self._write(result, stored)
        return result.outcomes

    def _read_sessions(self, commands: Sequence[Command]) -> dict[SessionKey, StoredSession]:
        execute, statement = self._connection.execute, self._sql["read_sessions"]
        stored: dict[SessionKey, StoredSession] = {}
        for (organisation, session_id), with_metadata in sessions_to_read(commands).items():
            bindings = {"organisation": organisation, "id": id_to_bytes(session_id), "with_metadata": with_metadata}
            for row in execute(statement, bindings):
                stored[organisation, session_id] = to_session(organisation, session_id, row)
        return stored

    def _read_keys(self, commands: Sequence[Command]) -> dict[IdempotencyKeyId, StoredKey]:
        names = {name for command in commands if (name := idempotency_key_id(command)) is not None}
        keys: dict[IdempotencyKeyId, StoredKey] = {}
        for name in names:
            bindings = dict(zip(("organisation", "principal", "command", "key"), name, strict=True))
            for row in self._connection.execute(self._sql["read_keys"], bindings):
                keys[name] = StoredKey(*name, *row)
        return keys

    def _write(self, result: BatchResult, stored: Mapping[SessionKey, StoredSession]) -> None:
        many, sql = self._connection.executemany, self._sql
        if result.deleted:
            deleted = [{"organisation": organisation, "id": id_to_bytes(id_)} for organisation, id_ in result.deleted]
            many(sql["delete_blocks"], deleted)
            many(sql["delete_sessions"], deleted)
        if result.inserted:
            many(sql["insert_sessions"], map(from_session, result.inserted))
        if result.updated:
            many(sql["update_sessions"], map(from_session, result.updated))
            changed = [row for row in result.updated if row.model != stored[row.organisation, row.id].model]
            many(sql["update_models"], map(from_session, changed))
        if result.blocks:
            many(sql["insert_blocks"], map(from_block, result.blocks))
        if result.audit:
            many(sql["insert_audit"], map(asdict, result.audit))
        if result.keys:
            many(sql["insert_keys"], map(asdict, result.keys))

    def _insert_audit(self, record: AuditRecord) -> None:
        self._connection.execute(self._sql["insert_audit"], asdict(record))

    def _sweep(self, limit: int) -> tuple[SweepResult, bool]:
        bindings = {"now": self._clock(), "limit": limit}
        due: list[Row] = self._connection.execute(self._sql["sweep_due"], bindings).fetchall()
        alive = [row for row in due if row[2] > bindings["now"]]
        expired = [row for row in due if row[2] <= bindings["now"]]
        deleted = _within_bytes_max(expired)
        self._connection.executemany(self._sql["sweep_later"], map(_session_bindings, alive))
        self._connection.executemany(self._sql["delete_blocks"], map(_session_bindings, deleted))
        self._connection.executemany(self._sql["delete_sessions"], map(_session_bindings, deleted))
        self._connection.execute(self._sql["sweep_keys"], bindings)
        keys_removed = self._connection.changes()
        old = {"before": self._clock() - AUDIT_RETENTION_MILLISECONDS, "limit": limit}
        self._connection.execute(self._sql["sweep_audit"], old)
        audit_removed = self._connection.changes()
        more = limit in {len(due), keys_removed, audit_removed} or len(deleted) < len(expired)
        return SweepResult(removed=len(deleted), more=more), bool(deleted or keys_removed or audit_removed)

    def start_log_over(self) -> bool:
        """Copy the log into the file and start it over; returns false, without waiting, if somebody reads it."""
        return self._checkpoint(apsw.SQLITE_CHECKPOINT_RESTART)

    def empty_log(self) -> bool:
        """Copy the log into the file and truncate it; returns false, without waiting, if somebody reads it."""
        return self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _checkpoint(self, mode: int) -> bool:
        self._connection.set_busy_timeout(0)
        try:
            self._connection.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            return False
        finally:
            self._connection.set_busy_timeout(self._busy_milliseconds)
        return True


def _within_bytes_max(expired: Sequence[Row]) -> Sequence[Row]:
    """Return the first sessions, at least one, that together hold at most ``_SWEPT_BYTES_MAX``."""
    size = 0
    for count, (_, _, _, total_bytes) in enumerate(expired):
        size += total_bytes
        if count and size > _SWEPT_BYTES_MAX:
            return expired[:count]
    return expired


def _session_bindings(row: Row) -> Bindings:
    return {"organisation": row[0], "id": row[1]}
