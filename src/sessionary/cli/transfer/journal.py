"""What has been imported, kept beside the file: so that a second run goes on where the first one ended."""

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

from sessionary.cli.transfer.record import DEFAULTS

_COMMIT_EVERY: Final = 200
"""How many notes may be lost with the machine's power; their idempotency keys still prevent doubles."""
_COMMIT_SECONDS: Final = 1.0
_ASKS: Final = [frozenset(asks) for size in range(len(DEFAULTS) + 1) for asks in combinations(DEFAULTS, size)]
"""What a record may not say itself: which of these it is, is known only once it has been read."""
_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class Entry(NamedTuple):
    """One record, and how far it has come: its session's id once there is one, and how many steps are done."""

    digest: bytes
    """Of the record, and of those flags that say what it does not."""
    occurrence: int
    """How many equal records stand before it: each becomes a session of its own."""
    place: str
    session_id: str = ""
    steps: int = 0
    complete: bool = False
    plan: bytes = b""
    """The digest of all its steps: half a session goes on only with the steps it was begun with."""
    record: bytes = b""
    """The digest of the record alone."""

    def key_of(self, step: bytes) -> str:
        """Make the idempotency key of a step on the session: the same in every run."""
        about = blake2b(step, key=self.digest, salt=self.occurrence.to_bytes(8), digest_size=16)
        about.update(self.session_id.encode())
        return about.hexdigest()


class Journal:
    """A small SQLite file, which nothing else writes to meanwhile; without a path it ends with the import."""

    def __init__(self, path: Path | None, destination: str, defaults: Mapping[str, Any], *, keeps: bool = True) -> None:
        """Open or begin it; raises ClickException. What was sent to another destination does not count.

        Nor does what was sent with other ``defaults`` for what its record does not say.

        Unless it ``keeps`` what is noted, the file stays as it is.
        """
        self._keeps: Final = keeps
        self._defaults: Final = defaults
        self._destination: Final = blake2b(destination.encode(), digest_size=16).digest()
        self._statements: Final = _statements()
        self._noted = 0
        self._committed_at = time.monotonic()
        try:
            # Without a path SQLite makes a file that nobody sees, and holds in memory no more of it than of others.
            self._rows: Final = sqlite3.connect(path or "", isolation_level=None, timeout=0)
            for statement in ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA temp_store = FILE", "BEGIN IMMEDIATE"):
                self._rows.execute(statement)
            for name in ("make", "make_seen", "make_present"):
                self._rows.execute(self._statements[name])
            columns = {name for (name,) in self._rows.execute(self._statements["columns"])}
            for name in {"plan", "destination", "record"} - columns:
                self._rows.execute(self._statements[f"add_{name}"])
            for name in ("fill_record", "make_half") if "record" not in columns else ("make_half",):
                self._rows.execute(self._statements[name])
        except sqlite3.Error as error:
            raise click.ClickException(
                f"The journal {path} cannot be used: {error}. Another import may be running, or the directory is not "
                "writable: then name another place with --journal."
            ) from error

    def find(self, text: bytes, place: str) -> Entry:
        """Find what is known of a record; a record seen twice in one run is two records."""
        digest = blake2b(_bare(text), key=self._destination, digest_size=16).digest()
        (occurrence,) = self._rows.execute(self._statements["see"], (digest,)).fetchone()
        keys = [self.key_of(digest, asks) for asks in _ASKS]
        found = (
            self._rows.execute(self._statements["find"], (*keys, occurrence)).fetchone()
            # Half a session that was begun with other flags is not left behind.
            or self._rows.execute(self._statements["find_half"], (digest, occurrence)).fetchone()
        )
        if found is None:
            return Entry(digest, occurrence, place, record=digest)
        key, session_id, steps, complete, plan = found
        return Entry(key, occurrence, place, session_id, steps, bool(complete), plan, digest)

    def key_of(self, record: bytes, asks: frozenset[str]) -> bytes:
        """Make the digest of a record and of the flags that it asks for."""
        if not asks:
            return record
        told = [(name, self._defaults.get(name)) for name in sorted(asks)]
        return blake2b(msgspec.json.encode(told), key=record, digest_size=16).digest()

    def count(self) -> int:
        """Count the records that were sent to this destination."""
        return int(self._rows.execute(self._statements["count"], (self._destination,)).fetchone()[0])

    def count_unseen(self) -> int:
        """Count those that were sent in earlier runs and were not found in this one."""
        return int(self._rows.execute(self._statements["count_unseen"], (self._destination,)).fetchone()[0])

    def add_present(self, session_ids: Iterable[str]) -> None:
        """Learn which sessions are on the server."""
        self._rows.executemany(self._statements["add_present"], ((session_id,) for session_id in session_ids))

    def is_present(self, session_id: str) -> bool:
        """Tell whether a session was learnt of."""
        return self._rows.execute(self._statements["find_present"], (session_id,)).fetchone() is not None

    def note(self, entry: Entry) -> None:
        """Keep how far a record has come; it is on the disk soon after."""
        self._rows.execute(self._statements["note"], (*entry, self._destination))
        self._noted += 1
        if not self._keeps:
            return
        if self._noted >= _COMMIT_EVERY or time.monotonic() - self._committed_at > _COMMIT_SECONDS:
            self._rows.execute("COMMIT")
            self._rows.execute("BEGIN IMMEDIATE")
            self._noted, self._committed_at = 0, time.monotonic()

    def forget(self, entry: Entry) -> None:
        """Drop a record whose session was taken back."""
        self._rows.execute(self._statements["forget"], (entry.digest, entry.occurrence))

    def close(self) -> None:
        """Write what is not written yet."""
        self._rows.execute("COMMIT" if self._keeps else "ROLLBACK")
        self._rows.close()


def _bare(text: bytes) -> memoryview:
    """Look at a text without the end of its line, and without a copy: it may be long."""
    end = len(text)
    while end and text[end - 1] in b" \t\r\n":
        end -= 1
    return memoryview(text)[:end]


def _statements() -> dict[str, str]:
    text = files("sessionary.cli.transfer").joinpath("journal.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))
