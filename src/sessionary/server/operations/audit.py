"""Audit records of what changes nothing; what changes something is recorded with the change."""

from sessionary.server.operations.context import Context
from sessionary.server.store.base import AuditRecord


async def note_export(ctx: Context) -> None:
    """Keep a record of an export that begins."""
    record = AuditRecord(
        at=ctx.service.clock(),
        organisation=ctx.organisation,
        actor=ctx.actor,
        action="export_sessions",
        subject=ctx.organisation,
    )
    await ctx.service.store.note(record)
