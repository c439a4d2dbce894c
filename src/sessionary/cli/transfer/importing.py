"""`sessionary import`: conversations from files."""

import asyncio
import contextlib
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click
import msgspec

import sessionary
from sessionary import limits
from sessionary.cli.connecting import Address, server_options, usage_checked
from sessionary.cli.exits import SOME_REJECTED
from sessionary.cli.sessions import example
from sessionary.cli.transfer.journal import Journal
from sessionary.cli.transfer.pieces import Pieces, pieces_of
from sessionary.cli.transfer.progress import progress
from sessionary.cli.transfer.reasons import Unreadable, UserMissing
from sessionary.cli.transfer.rejects import Rejects, Tally
from sessionary.cli.transfer.sending import Import, Plan
from sessionary.cli.transfer.shapes import read_record

if TYPE_CHECKING:
    import io

_MINUTES_MAX: Final = limits.EXPIRY_HORIZON_DAYS_DEFAULT * 24 * 60
_RETRIES: Final = 10


@click.command(
    "import",
    epilog=example(
        "sessionary import sessions.jsonl",
        "sessionary import conversations.json --user-id ada --expiration-minutes 10080",
    ),
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(dir_okay=False, allow_dash=True, exists=True)
)
@click.option("--user-id", metavar="ID", help="Whose conversations they are, where the file does not say.")
@click.option("--session-group", metavar="NAME", help="The group, where the file does not say.")
@click.option(
    "--expiration-minutes",
    type=click.IntRange(limits.EXPIRATION_MINUTES_MIN, _MINUTES_MAX),
    default=limits.EXPIRATION_MINUTES_MAX,
    show_default=True,
    metavar="MINUTES",
    help="How long the sessions live from now on; each day after the first takes one call more a session.",
)
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
    expiration_minutes: int,
    **defaults: str | None,
) -> None:
    """Import conversations: each line of a file, or each element of a JSON array, becomes a session.

    Reads what `sessionary export` writes, OpenAI chat transcripts ({"messages": [...]}), ShareGPT
    ({"conversations": [...]}) and the conversations.json of ChatGPT's data export. A FILE of - is the standard input.

    What was imported is noted in FILE.journal: run the command again after an interruption, or on a file that has
    grown, and only what is missing is sent. What cannot be imported is listed in FILE.rejects, with the reason.
    """
    if len(files) > 1 and (journal or rejects):
        raise click.UsageError("--journal and --rejects are for one file.")
    plan = Plan({name: value for name, value in defaults.items() if value is not None}, expiration_minutes)
    tallies = [Tally(name) for name in files]
    for tally in tallies:
        try:
            _import(address, tally, plan, journal, rejects)
        except BaseException:
            if not tally.is_empty():
                _report(tally, as_json=as_json)
                click.echo("Run the same command again to go on.", err=True)
            raise
        _report(tally, as_json=as_json)
    if any(tally.rejected for tally in tallies):
        sys.exit(SOME_REJECTED)


def _import(address: Address, tally: Tally, plan: Plan, journal_path: Path | None, rejects_path: Path | None) -> None:
    piped = tally.file == "-"
    beside = Path("stdin" if piped else tally.file)
    journal_path = journal_path or (None if piped else beside.with_name(f"{beside.name}.journal"))
    rejects = Rejects(rejects_path or beside.with_name(f"{beside.name}.rejects"), tally)
    length = beside.stat().st_size if beside.is_file() and not piped else None
    with click.open_file(tally.file, "rb") as file, progress(tally.file, length) as advance:
        pieces = _checked(pieces_of(cast("io.BufferedReader", file)), tally.file, plan)
        with contextlib.closing(Journal(journal_path, f"{address.url} {address.organisation}")) as journal, rejects:

            async def run() -> None:
                options = address.options() | {"retries": _RETRIES}
                async with sessionary.AsyncClient(address.url, **options) as client:
                    await Import(client, journal, rejects, plan, tally).run(pieces, advance)

            with usage_checked():
                asyncio.run(run())


def _checked(pieces: Pieces, file: str, plan: Plan) -> Pieces:
    """Look at the first record before anything is sent: a file that names no user needs --user-id."""
    first = next(pieces.found, None)
    if first is None:
        return pieces
    try:
        read_record(first.text or b"", plan.defaults)
    except UserMissing:
        raise click.UsageError(f"{file} does not say whose conversations it holds: give --user-id.") from None
    except Unreadable:
        pass
    return pieces._replace(found=itertools.chain([first], pieces.found))


def _report(tally: Tally, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(tally).decode())
        return
    shapes = f" (read as {', '.join(tally.shapes)})" if tally.shapes else ""
    rejected = f", {tally.rejected} rejected: see {tally.rejects}" if tally.rejected else ""
    click.echo(f"{tally.file}: {tally.imported} imported{shapes}, {tally.already_there} already there{rejected}")
