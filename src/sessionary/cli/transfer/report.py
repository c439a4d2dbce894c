"""Prints the report of an import."""

from collections import Counter
from typing import Final

import click
import msgspec

from sessionary.cli.transfer.stats import ImportStats

_KINDS_SHOWN_MAX: Final = 12


def print_report(stats: ImportStats, *, as_json: bool, dry_run: bool) -> None:
    """Print one line for a file, and more lines about changes, omissions and notices."""
    if as_json:
        click.echo(msgspec.json.encode(stats).decode())
        return
    formats = f" (read as {', '.join(stats.formats)})" if stats.formats else ""
    rejected = f", {stats.rejected} rejected: see {stats.rejects}" if stats.rejected else ""
    done = "would be imported" if dry_run else "imported"
    click.echo(f"{stats.file}: {stats.imported} {done}{formats}, {stats.already_there} already there{rejected}")
    for line in _details(stats):
        click.echo(f"  {line}")


def _details(stats: ImportStats) -> list[str]:
    lines = []
    if stats.reimported:
        lines.append(f"{stats.reimported} of them again: their sessions from an earlier import no longer exist")
    if stats.changed:
        lines.append(f"{stats.changed} conversations changed: {_kinds(stats.changes)}")
    if stats.messages_changed or stats.messages_omitted:
        changed = f", {stats.messages_changed} of them changed" if stats.messages_changed else ""
        omitted = f"; {stats.messages_omitted} omitted: {_kinds(stats.omitted)}" if stats.omitted else ""
        lines.append(f"{stats.messages} messages kept{changed}{omitted}")
    if stats.leftovers:
        lines.append(f"values that no session can store: see {stats.leftovers}")
    if stats.no_longer_in_file:
        lines.append(
            f"{stats.no_longer_in_file} imported earlier are no longer in the file or were changed there; "
            "their sessions remain"
        )
    return [*lines, *stats.notices]


def _kinds(counts: Counter[str]) -> str:
    most_frequent = counts.most_common()
    shown = [f"{count} of: {kind}" for kind, count in most_frequent[:_KINDS_SHOWN_MAX]]
    rest = len(most_frequent) - _KINDS_SHOWN_MAX
    return "; ".join([*shown, f"and {rest} more kinds"] if rest > 0 else shown)
