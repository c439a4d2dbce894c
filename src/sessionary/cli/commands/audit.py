"""`sessionary audit`: print the audit records."""

from typing import Any, Final

import click
import msgspec

from sessionary.cli.output import escape_controls
from sessionary.cli.server_extra import needs_server_libraries
from sessionary.cli.server_settings import settings_options
from sessionary.cli.store_access import with_store
from sessionary.server.store.base import AuditRecord, Store
from sessionary.timestamps import format_timestamp

_PAGE: Final = 500
_LINE: Final = "{:<23}  {:<15}  {:<36}  {:<20}  {}"
"""Fixed widths, because records are printed while they are read."""


@click.command("audit")
@click.option("--organisation", metavar="NAME", help="Only what was done in this organisation.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@settings_options("database")
@needs_server_libraries
def audit_command(organisation: str | None, as_json: bool, **options: Any) -> None:  # noqa: FBT001 - a flag
    """Show who deleted or exported sessions and who created or revoked tokens, oldest first; reads the database."""

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
    organisation = escape_controls(record.organisation or "(all)", multiline=False)
    # With milliseconds, so that the order of records of one second is visible.
    at = format_timestamp(record.at).replace("T", " ").rstrip("Z")
    return _LINE.format(at, record.action, record.subject, organisation, escape_controls(record.actor, multiline=False))
