"""`sessionary import`: conversations from files."""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

import sessionary
from sessionary import constants
from sessionary.cli.connecting import Address, server_options, usage_checked
from sessionary.cli.exits import SOME_MENDED, SOME_REJECTED
from sessionary.cli.sessions import example
from sessionary.cli.transfer.fitting import is_control
from sessionary.cli.transfer.journal import Journal
from sessionary.cli.transfer.keepingtimes import latest_time
from sessionary.cli.transfer.losttimes import has_times
from sessionary.cli.transfer.ordering import Moment, oldest_first, ties_in_order
from sessionary.cli.transfer.own import OURS, moment_of_export
from sessionary.cli.transfer.pieces import Pieces, pieces_of
from sessionary.cli.transfer.progress import progress
from sessionary.cli.transfer.reasons import MissingUserError, UnreadableError
from sessionary.cli.transfer.record import Reading
from sessionary.cli.transfer.rejects import Leftovers, Rejects, Tally
from sessionary.cli.transfer.sending import Import, Plan, Report
from sessionary.cli.transfer.shapes import SHAPES, Wanted, read_record
from sessionary.cli.transfer.sources import Source, Sources, sources_of
from sessionary.cli.transfer.summary import report
from sessionary.cli.transfer.trying import try_out
from sessionary.errors import PermissionDeniedError

_MINUTES_MAX: Final = constants.EXPIRY_HORIZON_DAYS_DEFAULT * 24 * 60
_RETRIES: Final = 10
UNCHANGED: Final = (
    "Sessions that were already there stay as they are: --format and --expiration-minutes hold for those sent now."
)
_Advance = Callable[[int], None]


def _checked(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """Refuse once what a server would refuse for every record."""
    if name is None:
        return None
    if not 0 < len(name) <= constants.NAME_LENGTH_MAX:
        raise click.BadParameter(f"It must have 1 to {constants.NAME_LENGTH_MAX} characters.")
    if any(is_control(letter) or "\ud800" <= letter <= "\udfff" for letter in name):
        raise click.BadParameter("It must be text without control characters.")
    return name


@click.command(
    "import",
    epilog=example(
        "sessionary import sessions.jsonl",
        "sessionary import conversations.json --user-id ada --expiration-minutes 10080",
        "sessionary import chatgpt-export.zip --user-id ada --dry-run",
    ),
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(dir_okay=False, allow_dash=True, exists=True)
)
@click.option(
    "--user-id", metavar="ID", callback=_checked, help="Whose conversations they are, where the file does not say."
)
@click.option("--session-group", metavar="NAME", callback=_checked, help="The group, where the file does not say.")
@click.option(
    "--expiration-minutes",
    type=click.IntRange(constants.EXPIRATION_MINUTES_MIN, _MINUTES_MAX),
    default=constants.EXPIRATION_MINUTES_MAX,
    show_default=True,
    metavar="MINUTES",
    help="How long the sessions live from now on; each day after the first takes one call more a session.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice([shape.word for shape in SHAPES]),
    help="The format of all conversations; else it is found out for each.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would become of them: nothing is sent.")
@click.option(
    "--journal", type=click.Path(dir_okay=False, path_type=Path), help="Instead of FILE.journal, for one file."
)
@click.option(
    "--rejects", type=click.Path(dir_okay=False, path_type=Path), help="Instead of FILE.rejects, for one file."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
@server_options
def import_command(  # noqa: PLR0913 - one parameter a flag
    address: Address,
    *,
    files: tuple[str, ...],
    journal: Path | None,
    rejects: Path | None,
    as_json: bool,
    dry_run: bool,
    format_: str | None,
    expiration_minutes: int,
    **defaults: str | None,
) -> None:
    """Import conversations: each line of a file, or each element of a JSON array, becomes a session.

    Reads what `sessionary export` writes, the data exports of ChatGPT and Claude (also as the ZIP they come in), those
    of Open WebUI and LibreChat, OpenAI chat transcripts, ShareGPT and Alpaca. A FILE of - is the standard input.

    What was imported is noted in FILE.journal, and looked up on the server: run the command again after an
    interruption, or on a file that has grown, and only what is missing is sent. What cannot be imported is listed in
    FILE.rejects, with the reason; parts of a conversation that no session can hold go to FILE.leftovers.
    """
    if len(files) > 1 and (journal or rejects):
        raise click.UsageError("--journal and --rejects are for one file.")
    given = {name: value for name, value in defaults.items() if value is not None}
    plan = Plan(Wanted(given, latest_time(), format_), expiration_minutes)
    tallies = [Tally(name) for name in files]
    for tally in tallies:
        try:
            _FileImport(address, tally, plan, journal, rejects, dry_run=dry_run).run()
        except BaseException:
            if not tally.is_empty():
                report(tally, as_json=as_json, dry_run=dry_run)
                click.echo("Run the same command again to go on.", err=True)
            raise
        if tally.already_there and _changes_what_is_sent(click.get_current_context()):
            tally.notice(UNCHANGED)
        report(tally, as_json=as_json, dry_run=dry_run)
    if any(tally.rejected for tally in tallies):
        sys.exit(SOME_REJECTED)
    if any(tally.mended for tally in tallies):
        sys.exit(SOME_MENDED)


class _FileImport:
    """The import of one file."""

    def __init__(  # noqa: PLR0913 - what the flags say
        self,
        address: Address,
        tally: Tally,
        plan: Plan,
        journal: Path | None,
        rejects: Path | None,
        *,
        dry_run: bool,
    ) -> None:
        """Choose the files beside it."""
        piped = tally.file == "-"
        beside = Path("stdin" if piped else tally.file)
        self._address: Final = address
        self._tally: Final = tally
        self._plan = plan
        self._dry_run: Final = dry_run
        self._journal_path: Final = journal or (None if piped else beside.with_name(f"{beside.name}.journal"))
        self._rejects: Final = Rejects(rejects or beside.with_name(f"{beside.name}.rejects"), tally)
        leftovers = None if dry_run else beside.with_name(f"{beside.name}.leftovers")
        self._report: Final = Report(tally, self._rejects, Leftovers(leftovers, tally))

    def run(self) -> None:
        """Import all that the file holds."""
        with sources_of(self._tally.file) as sources, progress(self._tally.file, sources.length) as advance:
            for notice in sources.notices:
                self._tally.notice(notice)
            opened = self._opened(sources)
            with contextlib.closing(self._journal()) as journal, self._rejects, usage_checked():
                asyncio.run(self._run(opened, journal, advance))
                if not self._dry_run:
                    self._tally.no_longer_in_file = journal.count_unseen()

    def _journal(self) -> Journal:
        path = self._journal_path
        if self._dry_run and path is not None and not path.exists():
            path = None
        return Journal(
            path,
            f"{self._address.url} {self._address.organisation}",
            self._plan.wanted.defaults,
            keeps=not self._dry_run,
        )

    def _opened(self, sources: Sources) -> Iterator[tuple[Source, Pieces, bool]]:
        """Cut each source into pieces, the first one before anything is sent: it may lack --user-id."""
        cut = ((source, *self._looked_at(pieces_of(source.file))) for source in sources.found)
        first = next(cut, None)
        return cut if first is None else itertools.chain([first], cut)

    def _looked_at(self, pieces: Pieces) -> tuple[Pieces, bool]:
        """Look at a source's first record: it tells whether the source has times of its own."""
        first = next(pieces.found, None)
        if first is None:
            return pieces, False
        timed = False
        try:
            timed = has_times(self._read(first.text or b"").record)
        except MissingUserError:
            file = self._tally.file
            raise click.UsageError(f"{file} does not say whose conversations it holds: give --user-id.") from None
        except UnreadableError:
            pass
        return pieces._replace(found=itertools.chain([first], pieces.found)), timed

    def _read(self, text: bytes) -> Reading:
        return read_record(text, self._plan.wanted)

    async def _run(self, opened: Iterator[tuple[Source, Pieces, bool]], journal: Journal, advance: _Advance) -> None:
        if self._dry_run:
            for source, pieces, _ in opened:
                try_out(
                    pieces.found,
                    _place(source, pieces),
                    journal=journal,
                    plan=self._plan,
                    report=self._report,
                    advance=advance,
                )
            return
        options = self._address.options() | {"max_retries": _RETRIES}
        async with sessionary.AsyncClient(self._address.url, **options) as client:
            await self._learn_time(client)
            for source, pieces, timed in opened:
                name = Path(self._tally.file).name.encode("utf-8", "surrogateescape")
                inside = f"/{source.inside}".encode("utf-8", "replace") if source.inside else b""
                sending = Import(client, journal, self._plan, self._report, name + inside)
                found, in_order = pieces.found, timed and not await sending.times.kept()
                found = oldest_first(found, self._time_of) if in_order else ties_in_order(found, self._beginning_of)
                await sending.run(found, _place(source, pieces), advance, in_order=in_order)

    async def _learn_time(self, client: "sessionary.AsyncClient") -> None:
        # From any answer the client learns whether this server honours idempotency keys, and so what it may repeat.
        with contextlib.suppress(PermissionDeniedError):
            response = await client.with_raw_response.list_sessions(limit=1)
            wanted = self._plan.wanted._replace(now=latest_time(response.headers.get("Date")))
            self._plan = Plan(wanted, self._plan.expiration_minutes)

    def _beginning_of(self, text: bytes) -> Moment | None:
        """Tell when a session was made, as cheaply as may be: most files are exports of ours."""
        if self._plan.wanted.format in (None, OURS) and (moment := moment_of_export(text)) is not None:
            return moment
        try:
            reading = self._read(text)
        except UnreadableError:
            return None
        return Moment(reading.record.created_at or "", _is_newest_first(reading))

    def _time_of(self, text: bytes) -> Moment | None:
        """Tell when a conversation began, by its messages where nothing else says so."""
        try:
            reading = self._read(text)
        except UnreadableError:
            return None
        record = reading.record
        times = (message["created_at"] for message in record.messages if "created_at" in message)
        return Moment(record.created_at or next(times, ""), _is_newest_first(reading))


def _changes_what_is_sent(context: click.Context) -> bool:
    """Tell whether flags were given that would make another session of a record that was imported before."""
    given = (context.get_parameter_source(name) for name in ("format_", "expiration_minutes"))
    return ParameterSource.COMMANDLINE in given


def _is_newest_first(reading: Reading) -> bool:
    return reading.format == OURS


def _place(source: Source, pieces: Pieces) -> str:
    return f"{source.inside}: {pieces.unit}" if source.inside else pieces.unit
