"""Saying what became of a file's conversations."""

import click
import msgspec

from sessionary.cli.transfer.rejects import Tally

_KINDS_TOLD_MAX = 12


def report(tally: Tally, *, as_json: bool, dry_run: bool) -> None:
    """Print what became of a file: one line, and more where something was changed, left out or is to be known."""
    if as_json:
        click.echo(msgspec.json.encode(tally).decode())
        return
    shapes = f" (read as {', '.join(tally.shapes)})" if tally.shapes else ""
    rejected = f", {tally.rejected} rejected: see {tally.rejects}" if tally.rejected else ""
    done = "would be imported" if dry_run else "imported"
    click.echo(f"{tally.file}: {tally.imported} {done}{shapes}, {tally.already_there} already there{rejected}")
    for line in _more(tally):
        click.echo(f"  {line}")


def _more(tally: Tally) -> list[str]:
    lines = []
    if tally.anew:
        lines.append(f"{tally.anew} of them again: their sessions of an earlier import are gone from the server")
    if tally.mended:
        lines.append(f"{tally.mended} conversations mended: {_kinds(tally.mendings)}")
    if tally.messages_mended or tally.messages_left_out:
        mended = f", {tally.messages_mended} of them mended" if tally.messages_mended else ""
        left_out = f"; {tally.messages_left_out} left out: {_kinds(tally.left_out)}" if tally.left_out else ""
        lines.append(f"{tally.messages} messages kept{mended}{left_out}")
    if tally.leftovers:
        lines.append(f"parts that no session can hold: see {tally.leftovers}")
    if tally.no_longer_in_file:
        lines.append(
            f"{tally.no_longer_in_file} imported earlier are no longer in the file as they were; their sessions stay"
        )
    return [*lines, *tally.notices]


def _kinds(counted: dict[str, int]) -> str:
    most = sorted(counted.items(), key=lambda each: -each[1])
    told = [f"{count} of: {kind}" for kind, count in most[:_KINDS_TOLD_MAX]]
    more = [f"and {len(most) - _KINDS_TOLD_MAX} more kinds"] if len(most) > _KINDS_TOLD_MAX else []
    return "; ".join(told + more)
