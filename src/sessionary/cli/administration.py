"""Commands that run and inspect a server."""

import asyncio
import json
import signal
import sys
from functools import partial
from typing import Any

import click
from msgspec.structs import asdict

from sessionary.cli.entry import hold_hangups
from sessionary.cli.settings import from_flags, settings_options
from sessionary.server.clock import steady_clock
from sessionary.server.config import format_setting
from sessionary.server.store.opening import check_url, migrate, pending_migrations


@click.command("serve")
@settings_options()
def serve_command(**flags: Any) -> None:
    """Run the server until it is told to stop (SIGTERM or Ctrl-C)."""
    hold_hangups()
    # The caller had it ignored, as nohup does.
    outlives_terminal = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    read = partial(from_flags, flags, warns=False)
    found = read()
    # The other commands start faster without the server's modules.
    from sessionary.server.run import serve  # noqa: PLC0415

    serve(found, read, outlives_terminal=outlives_terminal)


@click.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if migrations are pending.")
@settings_options("database")
def migrate_command(check: bool, **flags: Any) -> None:  # noqa: FBT001 - a flag of the command line
    """Bring the database's schema up to date."""
    database = from_flags(flags).settings.database
    if check:
        pending = asyncio.run(pending_migrations(database))
        for name in pending:
            click.echo(f"pending: {name}")
        if pending:
            sys.exit(1)
        click.echo("Nothing is pending.")
        return
    applied = asyncio.run(migrate(database, steady_clock()()))
    for name in applied:
        click.echo(f"applied: {name}")
    if not applied:
        click.echo("Nothing was pending.")


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options()
def config_command(as_json: bool, **flags: Any) -> None:  # noqa: FBT001 - a flag of the command line
    """Print every setting in force and where it came from; secrets are hidden."""
    found = from_flags(flags)
    check_url(found.settings.database)
    values = {name: format_setting(name, value) for name, value in asdict(found.settings).items()}
    if as_json:
        click.echo(
            json.dumps({name: {"value": values[name], "source": found.sources[name]} for name in values}, indent=2)
        )
        return
    width = max(map(len, values))
    value_width = max(map(len, values.values()))
    for name, value in values.items():
        click.echo(f"{name:<{width}}  {value:<{value_width}}  {found.sources[name]}")


@click.command("openapi")
def openapi_command() -> None:
    """Print the OpenAPI document of the API."""
    from sessionary.server.http.openapi.document import document  # noqa: PLC0415 - as for serve

    click.echo(json.dumps(document(), indent=2))
