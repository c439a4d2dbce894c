"""Connections that only read; each is used by one thread at a time."""

from typing import Any, Final

import apsw
from msgspec.structs import asdict

from sessionary.constants import SESSION_BYTES_MAX
from sessionary.errors import SessionNotFoundError
from sessionary.server.store.base import (
    AuditRecord,
    Clock,
    Conversation,
    ListQuery,
    Page,
    StoredToken,
    UsagePage,
    Window,
)
from sessionary.server.store.queries import list_statement, read_queries
from sessionary.server.store.sqlite import connections
from sessionary.server.store.sqlite.migrations import check_program
from sessionary.server.store.sqlite.rows import Row, id_from_bytes, id_to_bytes, to_audit
from sessionary.server.store.summaries import build_page
from sessionary.server.store.token_rows import to_token
from sessionary.server.store.windows import resolve_window, slice_messages


class Reader:
    """Reads committed data; each read sees one consistent state."""

    def __init__(self, connection: apsw.Connection, clock: Clock) -> None:
        """Own a connection to a file that has been migrated."""
        self._clock: Final = clock
        self._sql: Final = read_queries("sqlite")
        self._connection: Final = connection
        self._connection.execute("PRAGMA query_only = ON").fetchall()

    def fetch_whole(self, organisation: str, session_id: str, window: Window | None) -> Conversation:
        """Read a session and its messages; raises SessionNotFoundError."""
        conversation = self.fetch(organisation, session_id, window, SESSION_BYTES_MAX)
        if conversation is None:
            raise AssertionError(session_id)
        return conversation

    def fetch(self, organisation: str, session_id: str, window: Window | None, bytes_max: int) -> Conversation | None:
        """Read a session and its messages, or None if it holds more than ``bytes_max``; raises SessionNotFoundError."""
        if window is None:
            total_bytes, _, version, summary, metadata, messages = self._session(organisation, session_id, bytes_max)
            return None if total_bytes > bytes_max else Conversation(version, summary, metadata, messages or b"", 0)
        self._connection.execute("BEGIN")
        try:
            total_bytes, total_messages, version, summary, metadata, _ = self._session(organisation, session_id, 0)
            if total_bytes > bytes_max:
                return None
            begin, end = resolve_window(window, total_messages)
            bindings = {"organisation": organisation, "id": id_to_bytes(session_id), "from": begin, "until": end}
            blocks: Any = list(self._connection.execute(self._sql["fetch_blocks"], bindings))
        finally:
            self._connection.execute("COMMIT")
        return Conversation(version, summary, metadata, slice_messages(blocks, begin, end), begin)

    def _session(self, organisation: str, session_id: str, bytes_max: int) -> Row:
        bindings = {
            "organisation": organisation,
            "id": id_to_bytes(session_id),
            "now": self._clock(),
            "bytes_max": bytes_max,
        }
        row: Row | None = self._connection.execute(self._sql["fetch_sessions"], bindings).fetchone()
        if row is None:
            raise SessionNotFoundError
        return row

    def list_sessions(self, query: ListQuery) -> Page:
        """Read a page of live sessions."""
        bindings = asdict(query) | {
            "after": id_to_bytes(query.after),
            "limit": query.limit + 1,
            "now": self._clock(),
        }
        rows: list[Row] = self._connection.execute(self._sql[list_statement(query)], bindings).fetchall()
        return build_page(rows, query.limit, id_from_bytes)

    def measure_usage(self, organisation: str, after: str, limit: int) -> UsagePage:
        """Count the live sessions and their bytes of a page."""
        bindings = {"organisation": organisation, "after": id_to_bytes(after), "limit": limit, "now": self._clock()}
        ((sessions, stored_bytes, read, last),) = self._connection.execute(self._sql["measure_usage"], bindings)
        return UsagePage(int(sessions), int(stored_bytes), id_from_bytes(last) if read == limit else None)

    def find_token(self, token_id: str) -> StoredToken | None:
        """Read a token."""
        for row in self._connection.execute(self._sql["find_tokens"], {"id": token_id}):
            return to_token(row)
        return None

    def list_tokens(self, limit: int, after: str) -> list[StoredToken]:
        """Read a page of tokens."""
        rows = self._connection.execute(self._sql["list_tokens"], {"limit": limit, "after": after})
        return [to_token(row) for row in rows]

    def list_audit(self, limit: int, after: int) -> list[AuditRecord]:
        """Read audit records."""
        rows = self._connection.execute(self._sql["list_audit"], {"limit": limit, "after": after})
        return [to_audit(row) for row in rows]

    def ping(self) -> None:
        """Read one row, and check that this program may use the schema."""
        check_program(self._connection)
        self._connection.execute(self._sql["ping"]).fetchall()

    def interrupt(self) -> None:
        """Make a read in another thread end with an error."""
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection."""
        connections.close(self._connection)
