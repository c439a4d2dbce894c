"""`sessionary backup` and `sessionary restore`, for SQLite databases."""

import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from sessionary.cli.server_extra import needs_server_libraries
from sessionary.cli.server_settings import settings_from_flags, settings_options
from sessionary.server.store.opening import back_up, database_location, restore


@click.command("backup")
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE")
@settings_options("database")
@needs_server_libraries
def backup_command(target: Path, **options: Any) -> None:
    """Copy the SQLite database into a new FILE and verify the copy. The server may be running.

    The copy is one consistent snapshot, readable by its owner only. An existing FILE is never overwritten.
    """
    database = settings_from_flags(options).settings.database
    _clean_up_on_signals()
    counts = back_up(database, target)
    click.echo(f"backed up: {counts['sessions']} sessions, {counts['tokens']} tokens to {target}")


@click.command("restore")
@click.argument("copy", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--replace", is_flag=True, help="Replace an existing database; the old one is renamed and kept.")
@settings_options("database")
@needs_server_libraries
def restore_command(copy: Path, replace: bool, **options: Any) -> None:  # noqa: FBT001 - a flag of the command line
    """Restore the SQLite database from the copy FILE. No server may be running on the database.

    FILE is not changed. The server applies pending migrations when it starts next.
    """
    database = settings_from_flags(options).settings.database
    _clean_up_on_signals()
    counts, aside = restore(database, copy, replace=replace)
    click.echo(f"restored: {counts['sessions']} sessions, {counts['tokens']} tokens to {database_location(database)}")
    if aside is not None:
        click.echo(f"The previous database is kept as {aside}.")


def _clean_up_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, so that no partial file is left behind."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            # Windows has no SIGHUP.
            signal.signal(getattr(signal, name), end)
