"""The six session commands, one for each operation of the API."""

import time
from typing import Any, Final

import click

from sessionary import constants
from sessionary.cli.options import STATUSES, ServerAddress, example, open_client, server_options
from sessionary.cli.output import print_fields, print_json, print_session_table, print_transcript
from sessionary.cli.param_types import JsonObjectText, MessagesFile, TypedMessage, WholeNumber, messages_from

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the JSON of the API.")
_message_option: Final = click.option(
    "--message", "typed", type=TypedMessage(), multiple=True, help="A message, such as user:Hello; may be repeated."
)
_messages_option: Final = click.option(
    "--messages", "file", type=MessagesFile(), help="A JSON array of messages, read from a file; - is standard input."
)
_metadata_option: Final = click.option("--metadata", type=JsonObjectText(), help="A JSON object.")


@click.command(
    "create-session",
    epilog=example(
        "sessionary create-session --user-id user-12345 \\",
        '  --message "system:Be brief." --message "user:How do I reset my password?"',
    ),
)
@click.option("--user-id", required=True, metavar="ID", help="The user of the session.")
@click.option("--session-group", metavar="NAME", help="The application, environment or tenant.")
@_metadata_option
@click.option(
    "--expiration-minutes",
    type=WholeNumber(constants.EXPIRATION_MINUTES_MIN, constants.EXPIRATION_MINUTES_MAX),
    default=constants.EXPIRATION_MINUTES_DEFAULT,
    show_default=True,
    metavar="MINUTES",
    help="How long the session lives, unless it is extended.",
)
@_message_option
@_messages_option
@click.option("--title", help="Default: taken from the first user message.")
@click.option("--model", metavar="NAME", help="The model that answers.")
@json_option
@server_options
def create_session_command(address: ServerAddress, *, as_json: bool, typed: Any, file: Any, **arguments: Any) -> None:
    """Create a session and print its id."""
    with open_client(address) as client:
        created = client.create_session(initial_messages=messages_from(file, typed), **arguments)
    if as_json:
        print_json(created)
    else:
        print_fields([("id", created.session_id), ("status", created.status), ("expires", created.expires_at)])


@click.command(
    "list-sessions",
    epilog=example(
        "sessionary list-sessions --user-id user-12345 --status active",
        "sessionary list-sessions --all --json | jq -r .id",
    ),
)
@click.option("--user-id", metavar="ID", help="Only sessions of this user.")
@click.option("--session-group", metavar="NAME", help="Only sessions of this group.")
@click.option("--model", metavar="NAME", help="Only sessions with this model.")
@click.option("--status", type=STATUSES, help="Only sessions in this status.")
@click.option(
    "--limit",
    type=WholeNumber(1, constants.PAGE_LIMIT_MAX),
    default=constants.PAGE_LIMIT_DEFAULT,
    show_default=True,
    metavar="COUNT",
    help="How many sessions at most.",
)
@click.option("--offset", type=WholeNumber(0, constants.INT32_MAX), metavar="COUNT", help="How many to skip.")
@click.option("--all", "every", is_flag=True, help="List every match, instead of one page.")
@json_option
@server_options
def list_sessions_command(
    address: ServerAddress, *, as_json: bool, every: bool, limit: int, offset: int | None, **filters: Any
) -> None:
    """Print sessions, the newest first; as JSON one object a line."""
    if every and offset is not None:
        raise click.UsageError("Give either --all or --offset.")
    with open_client(address) as client:
        if every and as_json:
            for session in client.iterate_sessions(**filters):
                print_json(session)
            return
        if every:
            sessions, more = list(client.iterate_sessions(**filters)), False
        else:
            response = client.with_raw_response.list_sessions(limit=limit, offset=offset, **filters)
            sessions = response.parse().data
            # The vendor's server sends no Link header: there is no way to know without another request.
            more = 'rel="next"' in response.headers.get("link", "")
    if as_json:
        for session in sessions:
            print_json(session)
    elif sessions:
        print_session_table(sessions, time.time())
    else:
        click.echo("There are no such sessions.", err=True)
    if more:
        click.echo(
            f"There are more: give --offset {(offset or 0) + len(sessions)} for the next ones, or --all.", err=True
        )


@click.command(
    "get-session",
    epilog=example(
        "sessionary get-session 0199c1f2-7b5e-7c3a-9d41-2f6e8a0b5c11 --messages-limit 10",
    ),
)
@click.argument("session_id")
@click.option(
    "--messages-limit",
    type=WholeNumber(1, constants.WINDOW_LIMIT_MAX),
    metavar="COUNT",
    help="How many messages; without an offset the last ones.",
)
@click.option(
    "--messages-offset",
    type=WholeNumber(0, constants.INT32_MAX),
    metavar="NUMBER",
    help="The number of the first message, from 0.",
)
@json_option
@server_options
def get_session_command(address: ServerAddress, *, as_json: bool, session_id: str, **window: Any) -> None:
    """Print a session as a transcript."""
    with open_client(address) as client:
        session = client.get_session(session_id, **window)
    if as_json:
        print_json(session)
    else:
        print_transcript(session)


@click.command(
    "update-session",
    epilog=example(
        "sessionary update-session 0199c1f2-7b5e-7c3a-9d41-2f6e8a0b5c11 \\",
        '  --message "assistant:Follow the link under the password field." --tokens-used 42',
    ),
)
@click.argument("session_id")
@_message_option
@_messages_option
@click.option(
    "--tokens-used", type=WholeNumber(0, constants.INT32_MAX), metavar="COUNT", help="Added to the session's total."
)
@click.option("--status", type=STATUSES, help="A completed session can be made active again.")
@_metadata_option
@click.option("--title", help="A new title.")
@click.option("--model", metavar="NAME", help="The model that answers from now on.")
@json_option
@server_options
def update_session_command(
    address: ServerAddress, *, as_json: bool, session_id: str, typed: Any, file: Any, **arguments: Any
) -> None:
    """Append messages, add tokens, merge metadata and set the status, in one request."""
    with open_client(address) as client:
        updated = client.update_session(session_id, new_messages=messages_from(file, typed), **arguments)
    if as_json:
        print_json(updated)
    else:
        print_fields(
            [
                ("id", updated.session_id),
                ("status", updated.status),
                ("messages", updated.total_messages),
                ("tokens", updated.total_tokens),
                ("updated", updated.updated_at),
            ]
        )


@click.command(
    "extend-session",
    epilog=example("sessionary extend-session 0199c1f2-7b5e-7c3a-9d41-2f6e8a0b5c11 --additional-minutes 30"),
)
@click.argument("session_id")
@click.option(
    "--additional-minutes",
    type=WholeNumber(constants.ADDITIONAL_MINUTES_MIN, constants.ADDITIONAL_MINUTES_MAX),
    default=constants.ADDITIONAL_MINUTES_DEFAULT,
    show_default=True,
    metavar="MINUTES",
    help="Added to the session's current expiry.",
)
@json_option
@server_options
def extend_session_command(address: ServerAddress, *, as_json: bool, session_id: str, additional_minutes: int) -> None:
    """Extend a session's expiry."""
    with open_client(address) as client:
        extended = client.extend_session(session_id, additional_minutes)
    if as_json:
        print_json(extended)
    else:
        print_fields([("id", extended.session_id), ("expires", extended.expires_at), ("answer", extended.message)])


@click.command("delete-session", epilog=example("sessionary delete-session 0199c1f2-7b5e-7c3a-9d41-2f6e8a0b5c11"))
@click.argument("session_id")
@json_option
@server_options
def delete_session_command(address: ServerAddress, *, as_json: bool, session_id: str) -> None:
    """Delete a session and all its messages."""
    with open_client(address) as client:
        deleted = client.delete_session(session_id)
    if as_json:
        print_json(deleted)
    else:
        click.echo(deleted.message)
