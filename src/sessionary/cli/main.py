"""The command line: `sessionary COMMAND`."""

import os
import sys

import click

from sessionary.cli.commands.audit import audit_command
from sessionary.cli.commands.backup import backup_command, restore_command
from sessionary.cli.commands.chat import chat_command
from sessionary.cli.commands.export import export_command
from sessionary.cli.commands.import_ import import_command
from sessionary.cli.commands.server import config_command, migrate_command, openapi_command, serve_command
from sessionary.cli.commands.sessions import (
    create_session_command,
    delete_session_command,
    extend_session_command,
    get_session_command,
    list_sessions_command,
    update_session_command,
)
from sessionary.cli.commands.tokens import tokens_commands
from sessionary.cli.exit_codes import FAILED, error_message, exit_code_for
from sessionary.errors import SessionaryError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sessionary")
def commands() -> None:
    """Store AI chat sessions: the server, and commands that use and administer it."""


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
    """Run a command; an error is printed as one sentence on standard error and sets the exit code."""
    try:
        # https://no-color.org: set and not empty. With None click checks whether output is a terminal.
        commands(prog_name="sessionary", color=False if os.environ.get("NO_COLOR") else None)
    except SessionaryError as error:
        click.echo(f"sessionary: {error_message(error)}", err=True)
        sys.exit(exit_code_for(error))
    except OSError as error:
        click.echo(f"sessionary: {error}", err=True)
        sys.exit(FAILED)
