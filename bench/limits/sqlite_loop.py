"""The limit on SQLite: a bare loop over the driver on the same tables, as many appends a commit as clients wait."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import apsw

from bench.contenders.base import Contender, Load, Sample
from bench.contenders.rows import Batch, turn_body
from bench.contenders.workspace import ARCHIVE, Workspace
from bench.limits.timing import sample_of
from bench.workloads.payload import MESSAGES_PER_APPEND, TOKENS_PER_APPEND
from bench.workloads.service import HEADLINE_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.contenders.databases import Database

ORGANISATION = "bench"
READ_ONLY = "read-only"
TURNS = 10
CHECKPOINT_SECONDS = 0.2
PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 0",
    "cache_size = -16384",
    "temp_store = MEMORY",
)
UPDATE = """
UPDATE sessions
SET total_messages = total_messages + ?, total_tokens = total_tokens + ?, total_bytes = total_bytes + ?,
    updated_at = ?, version = version + 1
WHERE organisation = ? AND id = ? AND expires_at > ?
RETURNING total_messages
"""
INSERT = """
INSERT INTO message_blocks (organisation, session_id, first, count, tokens, format, created_at, body)
VALUES (?, ?, ?, ?, ?, 1, ?, ?)
"""
SHOWN = (
    "id, user_id, session_group, title, model, status, total_messages, total_tokens,"
    " created_at, updated_at, expires_at, metadata"
)
READ_SESSION = f"SELECT {SHOWN} FROM sessions WHERE organisation = ? AND id = ? AND expires_at > ?"  # noqa: S608 - ours
READ_TURNS = "SELECT body FROM message_blocks WHERE organisation = ? AND session_id = ? ORDER BY first"
LIST = "SELECT " + SHOWN + " FROM sessions WHERE organisation = ?{} AND expires_at > ? ORDER BY id DESC LIMIT 50"  # noqa: S608
LISTS = {
    "list-user": (LIST.format(" AND user_id = ?"), (ARCHIVE, "user-000001")),
    "list-group": (LIST.format(" AND session_group = ?"), (ARCHIVE, "group-0000")),
    "list-organisation": (LIST.format(""), (ARCHIVE,)),
}


class SqliteLoop(Contender):
    """What one thread gets out of the driver when nothing else is to be done."""

    name = "limit-sqlite"
    database: Database

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._written = Batch(ORGANISATION, workspace.scale.pool_sessions, TURNS)
        self._read = Batch(READ_ONLY, workspace.scale.pool_sessions, TURNS)

    def start(self) -> None:
        self.database = self.workspace.database("sqlite")
        for batch in (self._written, self._read):
            self.database.load(batch)
        self._connection = self._connect()
        # Both batches hold the same ids: they are of different organisations.
        self._sessions = cycle(self._written.ids())
        self._body = turn_body(0)

    def stop(self) -> None:
        self._connection.close()

    def is_scaled_to(self, connections: int) -> bool:
        return connections >= HEADLINE_CONNECTIONS

    def carries(self, workload: str) -> bool:
        return workload in {"append", "get", *LISTS}

    def prepare(self, workload: str) -> None:
        """Everything is there from the start."""

    def measure(self, load: Load) -> Sample:
        work: Callable[[], int] = {"append": lambda: self._append(load.connections), "get": self._get}.get(
            load.workload, lambda: self._list(load.workload)
        )
        with self._checkpoints():
            return sample_of(work, load.seconds)

    def verify(self, workload: str) -> None:
        """Nothing stands between this loop and the file."""

    def _append(self, group: int) -> int:
        connection, now = self._connection, time.time_ns() // 1_000_000
        connection.execute("BEGIN IMMEDIATE")
        for session in islice(self._sessions, group):
            values = (MESSAGES_PER_APPEND, TOKENS_PER_APPEND, len(self._body), now, ORGANISATION, session, now)
            total: Any = connection.execute(UPDATE, values).get
            first = total - MESSAGES_PER_APPEND
            connection.execute(
                INSERT,
                (ORGANISATION, session, first, MESSAGES_PER_APPEND, TOKENS_PER_APPEND, now, self._body),
            )
        connection.execute("COMMIT")
        return group

    def _get(self) -> int:
        session, now = next(self._sessions), time.time_ns() // 1_000_000
        connection = self._connection
        connection.execute("BEGIN")
        connection.execute(READ_SESSION, (READ_ONLY, session, now)).fetchall()
        b",".join(body for (body,) in connection.execute(READ_TURNS, (READ_ONLY, session)))
        connection.execute("COMMIT")
        return 1

    def _list(self, workload: str) -> int:
        statement, filters = LISTS[workload]
        self._connection.execute(statement, (*filters, time.time_ns() // 1_000_000)).fetchall()
        return 1

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(self.database.url.removeprefix("sqlite:///"))
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    @contextmanager
    def _checkpoints(self) -> Iterator[None]:
        # Beside the loop, as the server makes them: a connection of their own, and often.
        over = threading.Event()

        def checkpoint() -> None:
            connection = self._connect()
            while not over.wait(CHECKPOINT_SECONDS):
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            connection.close()

        thread = threading.Thread(target=checkpoint)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
