"""`sessionary import`: import conversations from files."""

import sys
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from sessionary import constants
from sessionary.cli.exit_codes import SOME_CHANGED, SOME_REJECTED
from sessionary.cli.options import ServerAddress, example, server_options
from sessionary.cli.transfer.created_at_support import latest_time
from sessionary.cli.transfer.file_import import FileImport
from sessionary.cli.transfer.formats.registry import FORMATS, ReadOptions
from sessionary.cli.transfer.importer import ImportOptions
from sessionary.cli.transfer.report import print_report
from sessionary.cli.transfer.session_normaliser import is_control_character
from sessionary.cli.transfer.stats import ImportStats

_MINUTES_MAX: Final = constants.EXPIRY_HORIZON_DAYS_DEFAULT * 24 * 60
UNCHANGED: Final = (
    "Sessions that were already there are unchanged: --format and --expiration-minutes apply to those sent now."
)


def _check_name(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """Reject a name that a server would reject for every record."""
    if name is None:
        return None
    if not 0 < len(name) <= constants.NAME_LENGTH_MAX:
        raise click.BadParameter(f"It must have 1 to {constants.NAME_LENGTH_MAX} characters.")
    if any(is_control_character(character) or "\ud800" <= character <= "\udfff" for character in name):
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
    "--user-id", metavar="ID", callback=_check_name, help="The user, for conversations without one in the file."
)
@click.option(
    "--session-group",
    metavar="NAME",
    callback=_check_name,
    help="The group, for conversations without one in the file.",
)
@click.option(
    "--expiration-minutes",
    type=click.IntRange(constants.EXPIRATION_MINUTES_MIN, _MINUTES_MAX),
    default=constants.EXPIRATION_MINUTES_MAX,
    show_default=True,
    metavar="MINUTES",
    help="When the sessions expire, from now; each day after the first takes one more request a session.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice([format_.option for format_ in FORMATS]),
    help="The format of all conversations; default: detected for each.",
)
@click.option("--dry-run", is_flag=True, help="Report what would be imported; nothing is sent.")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The journal, for one file; default: FILE.journal.",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The rejects file, for one file; default: FILE.rejects.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
@server_options
def import_command(  # noqa: PLR0913 - one parameter for each option
    address: ServerAddress,
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

    Reads the output of `sessionary export`, the data exports of ChatGPT and Claude (also as ZIP files), those of Open
    WebUI and LibreChat, OpenAI chat transcripts, ShareGPT and Alpaca. A FILE of - is standard input.

    Imported records are listed in FILE.journal and looked up on the server. Run the command again after an interruption
    or when the file has grown: only what is missing is sent. Records that cannot be imported are listed in FILE.rejects
    with the reason; values that no session can store are written to FILE.leftovers.
    """
    if len(files) > 1 and (journal or rejects):
        raise click.UsageError("--journal and --rejects are for one file.")
    given = {name: value for name, value in defaults.items() if value is not None}
    options = ImportOptions(ReadOptions(given, latest_time(), format_), expiration_minutes)
    all_stats = [ImportStats(name) for name in files]
    for stats in all_stats:
        try:
            FileImport(address, stats, options, journal, rejects, dry_run=dry_run).run()
        except BaseException:
            if not stats.is_empty():
                print_report(stats, as_json=as_json, dry_run=dry_run)
                click.echo("Run the same command again to continue.", err=True)
            raise
        if stats.already_there and _changes_the_request(click.get_current_context()):
            stats.add_notice(UNCHANGED)
        print_report(stats, as_json=as_json, dry_run=dry_run)
    if any(stats.rejected for stats in all_stats):
        sys.exit(SOME_REJECTED)
    if any(stats.changed for stats in all_stats):
        sys.exit(SOME_CHANGED)


def _changes_the_request(context: click.Context) -> bool:
    """Return whether options were given that only affect sessions that are sent now."""
    sources = (context.get_parameter_source(name) for name in ("format_", "expiration_minutes"))
    return ParameterSource.COMMANDLINE in sources
