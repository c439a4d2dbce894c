"""The command that shows the audit records."""

from typing import Any, Final

import click
import msgspec

from sessionary.cli.settings import settings_options
from sessionary.cli.showing import plain
from sessionary.cli.stores import with_store
from sessionary.server.store.base import AuditRecord, Store
from sessionary.timestamps import format_timestamp

_PAGE: Final = 500
_LINE: Final = "{:<23}  {:<15}  {:<36}  {:<20}  {}"
"""Records are printed as they are read: no column can wait for the widest of its cells."""


@click.command("audit")
@click.option("--organisation", metavar="NAME", help="Only what was done in this organisation.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@settings_options("database")
def audit_command(organisation: str | None, as_json: bool, **options: Any) -> None:  # noqa: FBT001 - a flag
    """Show who deleted, exported, or made and revoked tokens, and when, oldest first: directly from the database."""

    async def show(store: Store) -> None:
        last = 0
        if not as_json:
            click.secho(_LINE.format("AT (UTC)", "ACTION", "SUBJECT", "ORGANISATION", "BY"), bold=True)
        while page := await store.list_audit(_PAGE, last):
            for record in page:
                if organisation in {None, record.organisation}:
                    click.echo(_as_json(record) if as_json else _as_text(record))
            last = page[-1].number

    with_store(options, show)


def _as_json(record: AuditRecord) -> str:
    return msgspec.json.encode({**msgspec.structs.asdict(record), "at": format_timestamp(record.at)}).decode()


def _as_text(record: AuditRecord) -> str:
    whose = plain(record.organisation or "(all)", keep_lines=False)
    # The milliseconds stay: records of one second would seem to be of one moment.
    at = format_timestamp(record.at).replace("T", " ").rstrip("Z")
    return _LINE.format(at, record.action, record.subject, whose, plain(record.actor, keep_lines=False))
