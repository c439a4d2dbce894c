"""The command line: `sessionary COMMAND`."""

import sys
from typing import Final

import click

from sessionary.cli.administration import config_command, migrate_command, openapi_command, serve_command
from sessionary.cli.tokens import tokens_commands
from sessionary.errors import SessionaryError

FAILED: Final = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sessionary")
def commands() -> None:
    """Keep AI chat sessions: a server, and the tools to run it."""


commands.add_command(serve_command)
commands.add_command(migrate_command)
commands.add_command(tokens_commands)
commands.add_command(config_command)
commands.add_command(openapi_command)


def main() -> None:
    """Run a command; a failure is one sentence on the standard error and exit code 1, a wrong call exit code 2."""
    try:
        commands(prog_name="sessionary")
    except SessionaryError as error:
        click.echo(f"sessionary: {error.detail}", err=True)
        sys.exit(FAILED)
    except OSError as error:
        click.echo(f"sessionary: {error}", err=True)
        sys.exit(FAILED)
