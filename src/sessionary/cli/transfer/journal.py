"""The journal of an import, a file that lists what was sent, so that an import can be resumed or repeated."""

import re
import sqlite3
import time
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from sessionary.cli.transfer.session_draft import DEFAULT_FIELDS

_COMMIT_EVERY: Final = 200
"""How many entries a power failure may lose; idempotency keys still prevent duplicates."""
_COMMIT_SECONDS: Final = 1.0
_MISSING_FIELD_SETS: Final = [
    frozenset(names) for size in range(len(DEFAULT_FIELDS) + 1) for names in combinations(DEFAULT_FIELDS, size)
]
"""The possible values of `missing_fields`; which one a record has is known only after it was parsed."""
_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class JournalEntry(NamedTuple):
    """The progress of one record: the id of its session, if created, and how many calls are done."""

    digest: bytes
    """The digest of the record and of the options that set what it does not."""
    occurrence: int
    """How many equal records come before it; each becomes a session of its own."""
    location: str
    session_id: str = ""
    calls_done: int = 0
    complete: bool = False
    plan_digest: bytes = b""
    """The digest of its planned calls: an incomplete session is continued only with the same calls."""
    record_digest: bytes = b""
    """The digest of the record alone."""

    def idempotency_key(self, call: bytes) -> str:
        """Return the idempotency key of a call on the session; the same in every run."""
        key = blake2b(call, key=self.digest, salt=self.occurrence.to_bytes(8), digest_size=16)
        key.update(self.session_id.encode())
        return key.hexdigest()


class Journal:
    """A SQLite file that is locked during the import; without a path it is temporary."""

    def __init__(
        self, path: Path | None, destination: str, defaults: Mapping[str, Any], *, read_only: bool = False
    ) -> None:
        """Open or create the file; raises ClickException.

        Only entries with the same destination count, and the same ``defaults`` for fields that a record lacks. With
        ``read_only`` the file is not changed.
        """
        self._is_read_only: Final = read_only
        self._defaults: Final = defaults
        self._destination: Final = blake2b(destination.encode(), digest_size=16).digest()
        self._statements: Final = _statements()
        self._unsaved = 0
        self._committed_at = time.monotonic()
        try:
            # With an empty path SQLite uses a temporary file.
            self._rows: Final = sqlite3.connect(path or "", isolation_level=None, timeout=0)
            for statement in ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA temp_store = FILE", "BEGIN IMMEDIATE"):
                self._rows.execute(statement)
            for name in ("create_records", "index_incomplete", "create_seen", "create_existing"):
                self._rows.execute(self._statements[name])
        except sqlite3.Error as error:
            raise click.ClickException(
                f"The journal {path} cannot be used: {error}. Another import may be running, or the directory is not "
                "writable: then choose another path with --journal."
            ) from error

    def find(self, text: bytes, location: str) -> JournalEntry:
        """Return the entry of a record; equal records of one run have one entry each."""
        digest = blake2b(_without_line_end(text), key=self._destination, digest_size=16).digest()
        (occurrence,) = self._rows.execute(self._statements["count_seen"], (digest,)).fetchone()
        keys = [self.record_key(digest, missing) for missing in _MISSING_FIELD_SETS]
        found = (
            self._rows.execute(self._statements["find"], (*keys, occurrence)).fetchone()
            # An incomplete session of an import with other options is found too, to be replaced.
            or self._rows.execute(self._statements["find_incomplete"], (digest, occurrence)).fetchone()
        )
        if found is None:
            return JournalEntry(digest, occurrence, location, record_digest=digest)
        key, session_id, calls_done, complete, plan_digest = found
        return JournalEntry(key, occurrence, location, session_id, calls_done, bool(complete), plan_digest, digest)

    def record_key(self, record_digest: bytes, missing_fields: frozenset[str]) -> bytes:
        """Return the digest of a record and of the options for the fields that it lacks."""
        if not missing_fields:
            return record_digest
        options = [(name, self._defaults.get(name)) for name in sorted(missing_fields)]
        return blake2b(msgspec.json.encode(options), key=record_digest, digest_size=16).digest()

    def count(self) -> int:
        """Count the records that were sent to this destination."""
        return int(self._rows.execute(self._statements["count"], (self._destination,)).fetchone()[0])

    def count_unseen(self) -> int:
        """Count the records that earlier runs sent and that this run did not see."""
        return int(self._rows.execute(self._statements["count_unseen"], (self._destination,)).fetchone()[0])

    def add_existing(self, session_ids: Iterable[str]) -> None:
        """Store the ids of sessions that exist on the server."""
        self._rows.executemany(self._statements["add_existing"], ((session_id,) for session_id in session_ids))

    def is_existing(self, session_id: str) -> bool:
        """Return whether a session was added as existing."""
        return self._rows.execute(self._statements["find_existing"], (session_id,)).fetchone() is not None

    def save(self, entry: JournalEntry) -> None:
        """Save the progress of a record; it is committed to disk shortly after."""
        self._rows.execute(self._statements["save"], (*entry, self._destination))
        self._unsaved += 1
        if self._is_read_only:
            return
        if self._unsaved >= _COMMIT_EVERY or time.monotonic() - self._committed_at > _COMMIT_SECONDS:
            self._rows.execute("COMMIT")
            self._rows.execute("BEGIN IMMEDIATE")
            self._unsaved, self._committed_at = 0, time.monotonic()

    def remove(self, entry: JournalEntry) -> None:
        """Remove the entry of a record whose session was deleted."""
        self._rows.execute(self._statements["delete"], (entry.digest, entry.occurrence))

    def close(self) -> None:
        """Commit and close the file."""
        self._rows.execute("ROLLBACK" if self._is_read_only else "COMMIT")
        self._rows.close()


def _without_line_end(text: bytes) -> memoryview:
    """Return a view of the text without trailing white space; not a copy, because it may be long."""
    end = len(text)
    while end and text[end - 1] in b" \t\r\n":
        end -= 1
    return memoryview(text)[:end]


def _statements() -> dict[str, str]:
    text = files("sessionary.cli.transfer").joinpath("journal.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))
