"""Audit records of actions that change no data. An action that changes data writes its record with the change."""

from sessionary.server.operations.context import Context
from sessionary.server.store.base import AuditRecord


async def record_export(ctx: Context) -> None:
    """Write an audit record when an export starts."""
    record = AuditRecord(
        at=ctx.service.clock(),
        organisation=ctx.organisation,
        actor=ctx.actor,
        action="export_sessions",
        subject=ctx.organisation,
    )
    await ctx.service.store.note(record)
