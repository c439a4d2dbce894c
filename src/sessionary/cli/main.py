"""The command line: `sessionary COMMAND`."""

import os
import sys

import click

from sessionary.cli.administration import config_command, migrate_command, openapi_command, serve_command
from sessionary.cli.audit import audit_command
from sessionary.cli.backup import backup_command, restore_command
from sessionary.cli.chat import chat_command
from sessionary.cli.exits import FAILED, exit_code_of, sentence_of
from sessionary.cli.sessions import (
    create_session_command,
    delete_session_command,
    extend_session_command,
    get_session_command,
    list_sessions_command,
    update_session_command,
)
from sessionary.cli.tokens import tokens_commands
from sessionary.cli.transfer.exporting import export_command
from sessionary.cli.transfer.importing import import_command
from sessionary.errors import SessionaryError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sessionary")
def commands() -> None:
    """Keep AI chat sessions: a server, and the tools to run it."""


commands.add_command(serve_command)
commands.add_command(migrate_command)
commands.add_command(tokens_commands)
commands.add_command(audit_command)
commands.add_command(backup_command)
commands.add_command(restore_command)
commands.add_command(config_command)
commands.add_command(openapi_command)
commands.add_command(create_session_command)
commands.add_command(list_sessions_command)
commands.add_command(get_session_command)
commands.add_command(update_session_command)
commands.add_command(extend_session_command)
commands.add_command(delete_session_command)
commands.add_command(chat_command)
commands.add_command(export_command)
commands.add_command(import_command)


def main() -> None:
    """Run a command; a failure is one sentence on the standard error, and an exit code that tells its kind."""
    try:
        # https://no-color.org: set and not empty. None lets click decide by the terminal.
        commands(prog_name="sessionary", color=False if os.environ.get("NO_COLOR") else None)
    except SessionaryError as error:
        click.echo(f"sessionary: {sentence_of(error)}", err=True)
        sys.exit(exit_code_of(error))
    except OSError as error:
        click.echo(f"sessionary: {error}", err=True)
        sys.exit(FAILED)
