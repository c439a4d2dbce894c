"""`sessionary export`: every session a line, the newest first."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec

import sessionary
from sessionary.cli.connecting import Address, server_options, usage_checked
from sessionary.cli.sessions import STATUSES, example
from sessionary.cli.transfer.progress import progress
from sessionary.cli.transfer.reading import Export, Mark
from sessionary.models import JsonObject

_RETRIES: Final = 10
_OWNER_ONLY: Final = 0o600


class Output:
    """Where lines go, and the mark of how many pages have got there."""

    def __init__(self, file: BinaryIO, mark: Mark) -> None:
        """Write to a file as it is; nobody goes on with it later."""
        self.mark: Mark = mark
        self.file: Final = file

    def keep(self, mark: Mark) -> None:
        """See to it that a page arrives; the mark stands behind it."""
        self.file.flush()
        self.mark = mark

    def finish(self) -> None:
        """All is written."""


class FileOutput(Output):
    """A file that bears its name only once it is whole: until then there are FILE.part and FILE.part.journal."""

    def __init__(self, path: Path, question: JsonObject) -> None:
        """Go on with what an interrupted export of the same question left, or begin anew."""
        self._path: Final = path
        self._part: Final = path.with_name(f"{path.name}.part")
        self._journal: Final = path.with_name(f"{path.name}.part.journal")
        mark = self._earlier(question) or Mark(question)
        file = os.fdopen(os.open(self._part, os.O_RDWR | os.O_CREAT, _OWNER_ONLY), "r+b")
        file.truncate(mark.size)
        file.seek(mark.size)
        super().__init__(file, mark)

    def _earlier(self, question: JsonObject) -> Mark | None:
        try:
            mark = msgspec.json.decode(self._journal.read_bytes(), type=Mark)
            whole = self._part.stat().st_size >= mark.size
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return mark if whole and mark.question == question else None

    def keep(self, mark: Mark) -> None:
        """Put the page on the disk, then the mark behind it."""
        super().keep(msgspec.structs.replace(mark, size=self.file.tell()))
        os.fsync(self.file.fileno())
        written = self._journal.with_name(f"{self._journal.name}.new")
        written.write_bytes(msgspec.json.encode(self.mark))
        written.replace(self._journal)

    def finish(self) -> None:
        """Give the file its name, in place of any that bore it."""
        self._part.replace(self._path)
        self._journal.unlink(missing_ok=True)


@click.command(
    "export",
    epilog=example(
        "sessionary export --output sessions.jsonl",
        "sessionary export --user-id user-12345 | gzip > sessions.jsonl.gz",
    ),
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The file to write; else standard output."
)
@click.option("--user-id", metavar="ID", help="Only sessions of this user.")
@click.option("--session-group", metavar="NAME", help="Only sessions of this group.")
@click.option("--model", metavar="NAME", help="Only sessions with this model.")
@click.option("--status", type=STATUSES, help="Only sessions in this status.")
@server_options
def export_command(address: Address, *, output: Path | None, **filters: str | None) -> None:
    """Export sessions with all their messages: newline-delimited JSON, one session a line, the newest first.

    An export to a file that was interrupted goes on where it ended when the same command is run again; the file bears
    its name only once it is whole. Sessions that begin during the export are not part of it.
    """
    question = {"url": address.url, "organisation": address.organisation, **filters}
    where = FileOutput(output, question) if output else Output(sys.stdout.buffer, Mark(question))
    label = str(output or "export")
    with contextlib.ExitStack() as stack:
        if output:
            stack.enter_context(contextlib.closing(where.file))
        with usage_checked(), progress(label) as advance:
            asyncio.run(_export(address, filters, where, advance))
    click.echo(f"{label}: {where.mark.sessions} sessions", err=True)


async def _export(address: Address, filters: JsonObject, output: Output, advance: Callable[[int], None]) -> None:
    options = address.options() | {"max_retries": _RETRIES}
    async with sessionary.AsyncClient(address.url, **options) as client:
        export = Export(client, filters)
        while not output.mark.complete:
            lines, behind = await export.page(output.mark)
            sessions = output.mark.sessions
            async for line in lines:
                if line:
                    output.file.writelines(line)
                    output.file.write(b"\n")
                    sessions += 1
                    advance(1)
                # A long line need not stay while the next one comes.
                del line
            output.keep(msgspec.structs.replace(behind, sessions=sessions))
    output.finish()
