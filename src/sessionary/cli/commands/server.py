"""`sessionary serve`, `migrate`, `config` and `openapi`."""

import asyncio
import json
import signal
import sys
from functools import partial
from typing import Any

import click
from msgspec.structs import asdict

from sessionary.cli.blocked_signals import block_sighup
from sessionary.cli.server_extra import needs_server_libraries
from sessionary.cli.server_settings import settings_from_flags, settings_options
from sessionary.server.clock import steady_clock
from sessionary.server.config import format_setting
from sessionary.server.store.opening import check_url, migrate, pending_migrations


@click.command("serve")
@settings_options()
@needs_server_libraries
def serve_command(**flags: Any) -> None:
    """Run the server until it receives SIGTERM or Ctrl-C."""
    block_sighup()
    # SIGHUP is ignored if the server was started with nohup; Windows does not have it.
    outlives_terminal = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    read = partial(settings_from_flags, flags, print_warnings=False)
    settings = read()
    # Imported here so that other commands start faster.
    from sessionary.server.run import serve  # noqa: PLC0415

    serve(settings, read, outlives_terminal=outlives_terminal)


@click.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if migrations are pending.")
@settings_options("database")
@needs_server_libraries
def migrate_command(check: bool, **flags: Any) -> None:  # noqa: FBT001 - a flag of the command line
    """Apply pending migrations to the database."""
    database = settings_from_flags(flags).settings.database
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
    """Print every effective setting and its source; secrets are hidden."""
    found = settings_from_flags(flags)
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
@needs_server_libraries
def openapi_command() -> None:
    """Print the OpenAPI document of the API."""
    from sessionary.server.http.openapi.document import document  # noqa: PLC0415 - as for serve

    click.echo(json.dumps(document(), indent=2))
