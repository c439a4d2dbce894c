"""The import of one file: opens it, splits it into records and sends them, or only checks them in a dry run."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click

import sessionary
from sessionary.cli.options import ServerAddress, usage_errors
from sessionary.cli.transfer.created_at_fallback import has_timestamps
from sessionary.cli.transfer.created_at_support import latest_time
from sessionary.cli.transfer.errors import MissingUserError, RecordError
from sessionary.cli.transfer.formats.own import OWN_FORMAT, start_time_of_export
from sessionary.cli.transfer.formats.registry import parse_record
from sessionary.cli.transfer.importer import Importer, ImportOptions, ImportReport, unreadable_reason
from sessionary.cli.transfer.journal import Journal
from sessionary.cli.transfer.json_splitter import SplitFile, split_records
from sessionary.cli.transfer.ordering import StartTime, order_ties, sort_oldest_first
from sessionary.cli.transfer.progress_bar import progress_bar
from sessionary.cli.transfer.report_files import LeftoversFile, RejectsFile
from sessionary.cli.transfer.session_draft import ParsedRecord
from sessionary.cli.transfer.sources import Source, Sources, open_sources
from sessionary.cli.transfer.stats import ImportStats
from sessionary.errors import PermissionDeniedError

_RETRIES: Final = 10
_Advance = Callable[[int], None]


class _SplitSource(NamedTuple):
    """A source, its records, and whether the first of them has timestamps."""

    source: Source
    split: SplitFile
    has_timestamps: bool

    @property
    def unit(self) -> str:
        """The name of a record, such as ``line`` or ``conversations.json: element``."""
        path = self.source.archive_path
        return f"{path}: {self.split.unit}" if path else self.split.unit


class FileImport:
    """The import of one file."""

    def __init__(  # noqa: PLR0913 - the options of the command
        self,
        address: ServerAddress,
        stats: ImportStats,
        options: ImportOptions,
        journal: Path | None,
        rejects: Path | None,
        *,
        dry_run: bool,
    ) -> None:
        """Without ``journal`` and ``rejects`` these files are beside the imported one."""
        is_piped = stats.file == "-"
        file = Path("stdin" if is_piped else stats.file)
        self._address: Final = address
        self._stats: Final = stats
        self._options = options
        self._dry_run: Final = dry_run
        self._journal_path: Final = journal or (None if is_piped else file.with_name(f"{file.name}.journal"))
        self._rejects: Final = RejectsFile(rejects or file.with_name(f"{file.name}.rejects"), stats)
        leftovers = None if dry_run else file.with_name(f"{file.name}.leftovers")
        self._report: Final = ImportReport(stats, self._rejects, LeftoversFile(leftovers, stats))

    def run(self) -> None:
        """Import all records of the file."""
        with open_sources(self._stats.file) as sources, progress_bar(self._stats.file, sources.length) as advance:
            for notice in sources.notices:
                self._stats.add_notice(notice)
            split_sources = self._split(sources)
            with contextlib.closing(self._open_journal()) as journal, self._rejects, usage_errors():
                asyncio.run(self._run(split_sources, journal, advance))
                if not self._dry_run:
                    self._stats.no_longer_in_file = journal.count_unseen()

    def _open_journal(self) -> Journal:
        path = self._journal_path
        if self._dry_run and path is not None and not path.exists():
            path = None
        destination = f"{self._address.url} {self._address.organisation}"
        return Journal(path, destination, self._options.read_options.defaults, read_only=self._dry_run)

    def _split(self, sources: Sources) -> Iterator[_SplitSource]:
        """Split each source; the first one now, so that a missing --user-id is an error before anything is sent."""
        split_sources = (self._inspect(source, split_records(source.file)) for source in sources.sources)
        first = next(split_sources, None)
        return split_sources if first is None else itertools.chain([first], split_sources)

    def _inspect(self, source: Source, split: SplitFile) -> _SplitSource:
        """Parse the first record of a source, to find out whether the source has timestamps."""
        first = next(split.records, None)
        if first is None:
            return _SplitSource(source, split, has_timestamps=False)
        is_timed = False
        try:
            is_timed = has_timestamps(self._parse(first.text or b"").session)
        except MissingUserError:
            file = self._stats.file
            raise click.UsageError(f"{file} does not name the user of its conversations: give --user-id.") from None
        except RecordError:
            pass
        return _SplitSource(source, split._replace(records=itertools.chain([first], split.records)), is_timed)

    def _parse(self, text: bytes) -> ParsedRecord:
        return parse_record(text, self._options.read_options)

    async def _run(self, split_sources: Iterator[_SplitSource], journal: Journal, advance: _Advance) -> None:
        if self._dry_run:
            for each in split_sources:
                self._check(each, journal, advance)
            return
        client_options = self._address.client_options() | {"max_retries": _RETRIES}
        async with sessionary.AsyncClient(self._address.url, **client_options) as client:
            await self._read_server_time(client)
            for each in split_sources:
                await self._send(client, journal, each, advance)

    def _check(self, split_source: _SplitSource, journal: Journal, advance: _Advance) -> None:
        """Parse and count all records; those in the journal count as already on the server."""
        bytes_read = 0
        for record in split_source.split.records:
            location = f"{split_source.unit} {record.number}"
            if not record.text:
                self._rejects.add(location, unreadable_reason(record))
            elif journal.find(record.text, location).complete:
                self._stats.already_there += 1
            else:
                self._check_record(record.text, location)
            advance(record.bytes_read - bytes_read)
            bytes_read = record.bytes_read
            # Free a long record before the next one is read.
            del record

    def _check_record(self, text: bytes, location: str) -> None:
        try:
            parsed = self._parse(text)
        except RecordError as error:
            self._rejects.add(location, error.reason)
            return
        self._stats.formats[parsed.format] += 1
        self._stats.count_import(len(parsed.session.messages), parsed.log)

    async def _send(
        self, client: "sessionary.AsyncClient", journal: Journal, split_source: _SplitSource, advance: _Advance
    ) -> None:
        path = split_source.source.archive_path
        name = Path(self._stats.file).name.encode("utf-8", "surrogateescape")
        source_name = name + (f"/{path}".encode("utf-8", "replace") if path else b"")
        importer = Importer(client, journal, self._options, self._report, source_name)
        records = split_source.split.records
        in_order = split_source.has_timestamps and not await importer.created_at_support.is_supported()
        records = sort_oldest_first(records, self._first_time) if in_order else order_ties(records, self._creation_time)
        await importer.run(records, split_source.unit, advance, in_order=in_order)

    async def _read_server_time(self, client: "sessionary.AsyncClient") -> None:
        # Any response also shows the client whether this server supports idempotency keys, and so what it may retry.
        with contextlib.suppress(PermissionDeniedError):
            response = await client.with_raw_response.list_sessions(limit=1)
            read_options = self._options.read_options._replace(now=latest_time(response.headers.get("Date")))
            self._options = ImportOptions(read_options, self._options.expiration_minutes)

    def _creation_time(self, text: bytes) -> StartTime | None:
        """Return the creation time of a record's session; fast for our own exports, the most common files."""
        if self._options.read_options.format in (None, OWN_FORMAT):
            start_time = start_time_of_export(text)
            if start_time is not None:
                return start_time
        try:
            parsed = self._parse(text)
        except RecordError:
            return None
        return StartTime(parsed.session.created_at or "", parsed.format == OWN_FORMAT)

    def _first_time(self, text: bytes) -> StartTime | None:
        """Return the creation time of a record's session, or else of its first message that has a time."""
        try:
            parsed = self._parse(text)
        except RecordError:
            return None
        session = parsed.session
        times = (message["created_at"] for message in session.messages if "created_at" in message)
        return StartTime(session.created_at or next(times, ""), parsed.format == OWN_FORMAT)
