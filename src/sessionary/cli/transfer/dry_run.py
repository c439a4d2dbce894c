"""Checks what an import would do with each record, without sending anything."""

from collections.abc import Callable, Iterator

from sessionary.cli.transfer.errors import RecordError
from sessionary.cli.transfer.formats.registry import parse_record
from sessionary.cli.transfer.importer import ImportOptions, ImportReport, reason_for
from sessionary.cli.transfer.journal import Journal
from sessionary.cli.transfer.raw_record import RawRecord


def check_records(  # noqa: PLR0913 - the inputs of an import
    records: Iterator[RawRecord],
    unit: str,
    *,
    journal: Journal,
    options: ImportOptions,
    report: ImportReport,
    advance: Callable[[int], None],
) -> None:
    """Parse and count all records; those in the journal count as already on the server."""
    bytes_read = 0
    for record in records:
        _check_record(record, f"{unit} {record.number}", journal, options, report)
        advance(record.bytes_read - bytes_read)
        bytes_read = record.bytes_read
        del record


def _check_record(
    record: RawRecord, location: str, journal: Journal, options: ImportOptions, report: ImportReport
) -> None:
    if not record.text:
        report.rejects.add(location, reason_for(record, ""))
        return
    if journal.find(record.text, location).complete:
        report.stats.already_there += 1
        return
    try:
        parsed = parse_record(record.text, options.read_options)
    except RecordError as error:
        report.rejects.add(location, reason_for(record, error.reason))
        return
    report.stats.count_format(parsed.format)
    report.stats.count_import(len(parsed.session.messages), parsed.log)
