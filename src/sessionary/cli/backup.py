"""Commands that copy a SQLite database while it is used, and put a copy into its place."""

import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from sessionary.cli.settings import from_flags, settings_options
from sessionary.server.store.opening import back_up, database_location, restore


@click.command("backup")
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE")
@settings_options("database")
def backup_command(target: Path, **options: Any) -> None:
    """Copy the SQLite database into a new FILE, verified, while the server runs or not.

    The copy is of one instant and readable for its owner only. An existing FILE is never overwritten.
    """
    database = from_flags(options).settings.database
    _end_cleanly()
    counts = back_up(database, target)
    click.echo(f"backed up: {counts['sessions']} sessions, {counts['tokens']} tokens to {target}")


@click.command("restore")
@click.argument("copy", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--replace", is_flag=True, help="Take the place of a database that is there, and keep that one aside.")
@settings_options("database")
def restore_command(copy: Path, replace: bool, **options: Any) -> None:  # noqa: FBT001 - a flag of the command line
    """Put the copy FILE into the place of the SQLite database, while no server runs on it.

    FILE stays as it is. Pending migrations are applied by the next start of the server.
    """
    database = from_flags(options).settings.database
    _end_cleanly()
    counts, aside = restore(database, copy, replace=replace)
    click.echo(f"restored: {counts['sessions']} sessions, {counts['tokens']} tokens to {database_location(database)}")
    if aside is not None:
        click.echo(f"What was there before is kept as {aside}.")


def _end_cleanly() -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, so that nothing half is left behind."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
