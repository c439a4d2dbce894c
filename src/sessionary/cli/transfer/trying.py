"""Finding out what would become of records, without sending anything."""

from collections.abc import Callable, Iterator

from sessionary.cli.transfer.journal import Journal
from sessionary.cli.transfer.piece import Piece
from sessionary.cli.transfer.reasons import UnreadableError
from sessionary.cli.transfer.sending import Plan, Report, reason_of
from sessionary.cli.transfer.shapes import read_record


def try_out(  # noqa: PLR0913 - what an import takes
    pieces: Iterator[Piece],
    unit: str,
    *,
    journal: Journal,
    plan: Plan,
    report: Report,
    advance: Callable[[int], None],
) -> None:
    """Read all records and count; what the journal names counts as there."""
    position = 0
    for piece in pieces:
        _try_piece(piece, f"{unit} {piece.number}", journal, plan, report)
        advance(piece.position - position)
        position = piece.position
        del piece


def _try_piece(piece: Piece, place: str, journal: Journal, plan: Plan, report: Report) -> None:
    if not piece.text:
        report.rejects.add(place, reason_of(piece, ""))
        return
    if journal.find(piece.text, place).complete:
        report.tally.already_there += 1
        return
    try:
        reading = read_record(piece.text, plan.wanted)
    except UnreadableError as error:
        report.rejects.add(place, reason_of(piece, error.reason))
        return
    report.tally.shapes[reading.format] = report.tally.shapes.get(reading.format, 0) + 1
    report.tally.count(len(reading.record.messages), reading.findings)
