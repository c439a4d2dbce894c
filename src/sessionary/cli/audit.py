"""The command that shows the audit records."""

from typing import Any, Final

import click
import msgspec

from sessionary.cli.settings import settings_options
from sessionary.cli.stores import with_store
from sessionary.instants import instant
from sessionary.store.base import AuditRecord, Store

_PAGE: Final = 500


@click.command("audit")
@click.option("--organisation", metavar="NAME", help="Only what was done in this organisation.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@settings_options("database")
def audit_command(organisation: str | None, as_json: bool, **options: Any) -> None:  # noqa: FBT001 - a flag
    """Show who deleted, exported, or made and revoked tokens, and when, oldest first: directly from the database."""

    async def show(store: Store) -> None:
        last = 0
        while page := await store.list_audit(_PAGE, last):
            for record in page:
                if organisation in {None, record.organisation}:
                    click.echo(_as_json(record) if as_json else _as_text(record))
            last = page[-1].number

    with_store(options, show)


def _as_json(record: AuditRecord) -> str:
    return msgspec.json.encode({**msgspec.structs.asdict(record), "at": instant(record.at)}).decode()


def _as_text(record: AuditRecord) -> str:
    whose = record.organisation or "(all organisations)"
    return f"{instant(record.at)}  {record.action:<15}  {record.subject}  by {record.actor}  in {whose}"
