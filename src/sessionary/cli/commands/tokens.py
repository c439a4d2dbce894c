"""`sessionary tokens`: create, list and revoke tokens."""

import json
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from sessionary.cli.output import escape_controls, format_minute
from sessionary.cli.server_extra import needs_server_libraries
from sessionary.cli.server_settings import settings_options
from sessionary.cli.store_access import operator, with_store
from sessionary.cli.tables import Column, print_table
from sessionary.server.clock import steady_clock
from sessionary.server.operations.tokens import (
    DEFAULT_SCOPES,
    SCOPES,
    TokenIssuer,
    create_token,
    is_active,
)
from sessionary.server.store.base import Store, StoredToken
from sessionary.timestamps import format_timestamp

_PAGE: Final = 200
_DURATION: Final = re.compile(r"([0-9]{1,6})([mhd])")
_MILLISECONDS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


@click.group("tokens")
def tokens_commands() -> None:
    """Create, list and revoke tokens, directly in the database."""


@tokens_commands.command("create")
@click.option("--organisation", metavar="NAME", help="The organisation the token is for.")
@click.option("--all-organisations", is_flag=True, help="Create an operator's token, valid for every organisation.")
@click.option("--name", default="token", show_default=True, help="A label, to recognise the token.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help=f"May be repeated; default: {' and '.join(DEFAULT_SCOPES)}.",
)
@click.option("--expires", metavar="WHEN", help="90d, 12h, 30m or an RFC 3339 timestamp; default: never.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with id and token.")
@settings_options("database")
@needs_server_libraries
def create_command(organisation: str | None, **options: Any) -> None:
    """Create a token and print it. It is shown only once: only its hash is stored."""
    all_organisations, as_json = options.pop("all_organisations"), options.pop("as_json")
    if (organisation is None) != all_organisations:
        raise click.UsageError("Give either --organisation NAME or --all-organisations.")
    name, scopes, expires = options.pop("name"), options.pop("scopes") or DEFAULT_SCOPES, options.pop("expires")
    clock = steady_clock()
    expires_at = _parse_expiry(expires, clock()) if expires else None

    async def make(store: Store) -> tuple[StoredToken, str]:
        maker = TokenIssuer(store, clock, secrets.token_bytes, operator())
        return await create_token(maker, organisation, name, scopes, expires_at)

    token, text = with_store(options, make)
    click.echo(json.dumps({**_token_json(token), "token": text}) if as_json else text)


@tokens_commands.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@settings_options("database")
@needs_server_libraries
def list_command(as_json: bool, **options: Any) -> None:  # noqa: FBT001 - a flag of the command line
    """List tokens, oldest first, without their secrets."""

    async def read(store: Store) -> list[StoredToken]:
        found: list[StoredToken] = []
        while page := await store.list_tokens(_PAGE, found[-1].id if found else ""):
            found += page
        return found

    now = steady_clock()()
    tokens = with_store(options, read)
    if as_json:
        for token in tokens:
            click.echo(json.dumps(_token_json(token)))
    elif tokens:
        _print_tokens(tokens, now)
    else:
        click.echo("There are no tokens: create one with `sessionary tokens create`.", err=True)


def _print_tokens(tokens: Sequence[StoredToken], now: int) -> None:
    states = ["good" if is_active(token, now) else "revoked" if token.revoked_at else "expired" for token in tokens]
    common = (
        Column("ID", [token.id for token in tokens]),
        Column("STATE", states),
        Column(
            "ORGANISATION", [escape_controls(token.organisation or "(all)", multiline=False) for token in tokens], 8
        ),
        Column("NAME", [escape_controls(token.name, multiline=False) for token in tokens], 6),
    )
    scopes = Column("SCOPES", [",".join(token.scopes) for token in tokens])
    created = Column("CREATED (UTC)", [_format_optional(token.created_at) for token in tokens])
    expires = Column("EXPIRES (UTC)", [_format_optional(token.expires_at) for token in tokens])
    used = Column("LAST USED (UTC)", [_format_optional(token.last_used_at) for token in tokens])
    print_table((*common, scopes, created, expires, used), (*common, created, expires, used), (*common, expires, used))


def _format_optional(milliseconds: int | None) -> str:
    return "never" if milliseconds is None else format_minute(datetime.fromtimestamp(milliseconds / 1000, UTC))


@tokens_commands.command("revoke")
@click.argument("token_id")
@settings_options("database")
@needs_server_libraries
def revoke_command(token_id: str, **options: Any) -> None:
    """Revoke the token with this id permanently; every server rejects it within five seconds."""
    token = with_store(options, lambda store: store.revoke_token(token_id, operator()))
    click.echo(f"revoked: {token.id}  {token.name}")


def _token_json(token: StoredToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "organisation": token.organisation,
        "name": token.name,
        "scopes": list(token.scopes),
        "created_at": format_timestamp(token.created_at),
        "expires_at": None if token.expires_at is None else format_timestamp(token.expires_at),
        "revoked_at": None if token.revoked_at is None else format_timestamp(token.revoked_at),
        "last_used_at": None if token.last_used_at is None else format_timestamp(token.last_used_at),
    }


def _parse_expiry(text: str, now: int) -> int:
    duration = _DURATION.fullmatch(text)
    if duration:
        return now + int(duration[1]) * _MILLISECONDS[duration[2]]
    try:
        timestamp = datetime.fromisoformat(text if text.isascii() else "")
    except ValueError:
        raise click.UsageError(f"{text!r} is neither a duration (90d, 12h, 30m) nor an RFC 3339 timestamp.") from None
    if timestamp.tzinfo is None:
        raise click.UsageError(f"{text!r} needs a time zone, like 2027-01-01T00:00:00Z.")
    return int(timestamp.timestamp() * 1000)
