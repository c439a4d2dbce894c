"""Sends records to the server, several at a time, each exactly once."""

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from sessionary.cli.transfer.created_at_fallback import has_timestamps, move_timestamps_to_metadata
from sessionary.cli.transfer.created_at_support import CreatedAtSupport
from sessionary.cli.transfer.errors import RecordError, rejection_reason
from sessionary.cli.transfer.formats.registry import ReadOptions, parse_record
from sessionary.cli.transfer.journal import Journal, JournalEntry
from sessionary.cli.transfer.plan import PlannedCall, digest_plan, plan_calls
from sessionary.cli.transfer.raw_record import RawRecord
from sessionary.cli.transfer.report_files import LeftoversFile, RejectsFile
from sessionary.cli.transfer.session_draft import ParsedRecord
from sessionary.cli.transfer.session_lookup import SessionLookup, session_exists
from sessionary.cli.transfer.stats import ImportStats
from sessionary.errors import (
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RequestTooLargeError,
)
from sessionary.models import IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED

if TYPE_CHECKING:
    import sessionary

_CONCURRENT_SESSIONS_MAX: Final = 8
_CONCURRENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""The total size of the records that are sent at a time; a single record may be longer."""


class ImportOptions(Struct, frozen=True):
    """Options for every record of an import."""

    read_options: ReadOptions
    expiration_minutes: int


class ImportReport(Struct, frozen=True):
    """Receives the results of the records."""

    stats: ImportStats
    rejects: RejectsFile
    leftovers: LeftoversFile


class Importer:
    """Imports one source. A record that the server rejects affects only itself; any other error ends the import."""

    def __init__(
        self,
        client: "sessionary.AsyncClient",
        journal: Journal,
        options: ImportOptions,
        report: ImportReport,
        source: bytes,
    ) -> None:
        """``source`` names the file: equal records of two sources become two sessions."""
        self._client: Final = client
        self._journal: Final = journal
        self._options: Final = options
        self._report: Final = report
        self._source: Final = source
        self._lookup: Final = SessionLookup(client, journal)
        self.created_at_support: Final = CreatedAtSupport(client)
        self._tasks: Final[dict[asyncio.Task[None], int]] = {}
        """The records that are being sent, and their sizes."""
        self._pending_creations: list[asyncio.Event] = []
        """One event for each session that is being sent; it is set when the session has been created."""
        self._in_order = self._previous_keeps_order = False

    async def run(
        self, records: Iterator[RawRecord], unit: str, advance: Callable[[int], None], *, in_order: bool = False
    ) -> None:
        """Send the records that the server does not have; after an error, finish those that are being sent.

        With ``in_order`` sessions are created one after another. ``unit`` names the records, such as ``line``.
        """
        bytes_read = 0
        self._in_order = in_order
        await self._lookup.load()
        try:
            for record in records:
                await self._start(record, f"{unit} {record.number}")
                advance(record.bytes_read - bytes_read)
                bytes_read = record.bytes_read
                # Free a long record before the next one is read.
                del record
        finally:
            await self._wait(room_for=None)
            self._report.stats.add_notice(self._lookup.notice)
            self._report.stats.add_notice(self.created_at_support.notice)

    async def _start(self, record: RawRecord, location: str) -> None:
        if not record.text:
            self._report.rejects.add(location, unreadable_reason(record))
            return
        entry = self._journal.find(record.text, location)
        if entry.complete and self._lookup.is_known(entry.session_id):
            self._report.stats.already_there += 1
            return
        # A decoded record takes several times its length: it is decoded only when there is room for it.
        await self._wait(room_for=len(record.text))
        is_unordered = not (self._in_order or record.keeps_order or self._previous_keeps_order)
        self._previous_keeps_order = record.keeps_order
        self._pending_creations = [event for event in self._pending_creations if not event.is_set()]
        earlier = [] if is_unordered else self._pending_creations
        created = asyncio.Event()
        self._pending_creations = [*self._pending_creations, created]
        task = asyncio.create_task(self._import_record(record.text, entry, earlier, created))
        self._tasks[task] = len(record.text)

    async def _wait(self, room_for: int | None) -> None:
        """Wait until there is room for a record of this size, or for all tasks if None; raises a task's error."""
        errors: list[BaseException] = []
        while self._tasks and (errors or self._is_full(room_for)):
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del self._tasks[task]
                errors += [error] if (error := task.exception()) else []
        if errors:
            raise errors[0]

    def _is_full(self, room_for: int | None) -> bool:
        if room_for is None or len(self._tasks) == _CONCURRENT_SESSIONS_MAX:
            return True
        return sum(self._tasks.values()) + room_for > _CONCURRENT_BYTES_MAX

    async def _import_record(
        self, text: bytes, entry: JournalEntry, earlier: list[asyncio.Event], created: asyncio.Event
    ) -> None:
        """Import one record, or add it to the rejects."""
        try:
            is_deleted = entry.complete and not await self._lookup.exists(entry.session_id)
            if entry.complete and not is_deleted:
                self._report.stats.already_there += 1
                return
            parsed = parse_record(text, self._options.read_options)
            if has_timestamps(parsed.session) and not await self.created_at_support.is_supported():
                move_timestamps_to_metadata(parsed)
            calls = self._plan(parsed, len(text))
            for event in earlier:
                await event.wait()
            await self._send(entry, calls, parsed, created, is_deleted=is_deleted)
        except RecordError as error:
            self._report.rejects.add(entry.location, error.reason)
        finally:
            # Later records must not wait for one that failed.
            created.set()

    def _plan(self, parsed: ParsedRecord, size: int) -> list[PlannedCall]:
        try:
            return plan_calls(parsed.session, size, self._options.expiration_minutes)
        except (OverflowError, ValueError, RecursionError) as error:
            raise RecordError("It cannot be sent as JSON.") from error

    async def _send(
        self,
        entry: JournalEntry,
        calls: list[PlannedCall],
        parsed: ParsedRecord,
        created: asyncio.Event,
        *,
        is_deleted: bool,
    ) -> None:
        """Send a record completely and count it."""
        plan_digest = digest_plan(calls)
        is_resumed = bool(entry.session_id) and not is_deleted
        if is_resumed and entry.plan_digest != plan_digest:
            # The session was started with other calls: continuing would duplicate or lose messages.
            await self._delete_incomplete(entry)
            is_resumed = False
        if not is_resumed:
            digest = self._journal.record_key(entry.record_digest, parsed.session.missing_fields)
            if digest != entry.digest:
                self._journal.remove(entry)
            entry = entry._replace(digest=digest, session_id="", calls_done=0, complete=False, plan_digest=plan_digest)
        self._report.stats.formats[parsed.format] += 1
        self._report.leftovers.add(entry.location, parsed.log.excluded)
        is_new = await self._make_calls(entry, calls, created, is_resumed=is_resumed)
        if is_new is None:
            return
        if not is_new:
            self._report.stats.already_there += 1
            return
        self._report.stats.count_import(len(parsed.session.messages), parsed.log)
        self._report.stats.reimported += is_deleted

    async def _make_calls(
        self, entry: JournalEntry, calls: list[PlannedCall], created: asyncio.Event, *, is_resumed: bool
    ) -> bool | None:
        """Make the remaining calls; returns whether any had an effect now, or None if the record was rejected."""
        is_new = False
        try:
            for number in range(entry.calls_done, len(calls)):
                entry, had_effect = await self._call(entry, calls[number], number)
                entry = entry._replace(calls_done=number + 1, complete=number + 1 == len(calls))
                self._journal.save(entry)
                created.set()
                is_new = is_new or had_effect
        except (InvalidArgumentError, InvalidRequestError, RequestTooLargeError) as error:
            await self._delete_incomplete(entry)
            self._report.rejects.add(entry.location, rejection_reason(error))
            return None
        except NotFoundError:
            if is_resumed:
                # The session that an earlier run created has expired or was deleted.
                restarted = entry._replace(session_id="", calls_done=0)
                return await self._make_calls(restarted, calls, created, is_resumed=False)
            if not entry.session_id:
                raise
            self._journal.remove(entry)
            self._report.rejects.add(entry.location, f"Its session was deleted during the import: {entry.session_id}.")
            return None
        return is_new

    async def _call(self, entry: JournalEntry, call: PlannedCall, number: int) -> tuple[JournalEntry, bool]:
        """Make a call; returns whether it had an effect now, or was a repetition of an earlier run's call."""
        # With the source, so that equal records of two files become two sessions.
        key = entry.idempotency_key(self._source + call.encode(number))
        options: Any = {"headers": {IDEMPOTENCY_KEY: f'"{key}"'}}
        if call.operation == "create":
            response = await self._client.with_raw_response.create_session(**call.arguments, **options)
            entry = entry._replace(session_id=response.parse().session_id)
            if IDEMPOTENT_REPLAYED in response.headers and not await session_exists(self._client, entry.session_id):
                # It was deleted after the earlier run. With its id in the entry, the next key is a new one.
                return await self._call(entry, call, number)
            return entry, IDEMPOTENT_REPLAYED not in response.headers
        raw: Any = self._client.with_raw_response
        method = raw.update_session if call.operation == "update" else raw.extend_session
        response = await method(entry.session_id, **call.arguments, **options)
        return entry, IDEMPOTENT_REPLAYED not in response.headers

    async def _delete_incomplete(self, entry: JournalEntry) -> None:
        if not entry.session_id:
            return
        try:
            await self._client.delete_session(entry.session_id)
        except NotFoundError:
            pass
        except PermissionDeniedError as error:
            raise RecordError(
                f"A part of it is in the session {entry.session_id}, which the token may not delete."
            ) from error
        self._journal.remove(entry)


def unreadable_reason(record: RawRecord) -> str:
    """Return why a record has no text."""
    if record.text is None:
        return "It is too long."
    return "The file ends before its array does: it may be truncated."
