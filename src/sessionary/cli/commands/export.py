"""`sessionary export`: write sessions as lines of JSON, the newest first."""

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
from sessionary.cli.options import STATUSES, ServerAddress, example, server_options, usage_errors
from sessionary.cli.transfer.exporter import Checkpoint, Exporter
from sessionary.cli.transfer.progress_bar import progress_bar
from sessionary.models import JsonObject

_RETRIES: Final = 10
_OWNER_ONLY: Final = 0o600


class Output:
    """The output of an export, and a checkpoint after the last complete page."""

    def __init__(self, file: BinaryIO, checkpoint: Checkpoint) -> None:
        """Write to an open file; this output cannot be resumed."""
        self.checkpoint: Checkpoint = checkpoint
        self.file: Final = file

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Flush the page before the checkpoint."""
        self.file.flush()
        self.checkpoint = checkpoint

    def finish(self) -> None:
        """Complete the output."""


class FileOutput(Output):
    """A file that is FILE.part until it is complete; its checkpoint is in FILE.part.journal."""

    def __init__(self, path: Path, query: JsonObject) -> None:
        """Resume an interrupted export with the same query, or start a new one."""
        self._path: Final = path
        self._part: Final = path.with_name(f"{path.name}.part")
        self._journal: Final = path.with_name(f"{path.name}.part.journal")
        checkpoint = self._load_checkpoint(query) or Checkpoint(query)
        file = os.fdopen(os.open(self._part, os.O_RDWR | os.O_CREAT, _OWNER_ONLY), "r+b")
        file.truncate(checkpoint.size)
        file.seek(checkpoint.size)
        super().__init__(file, checkpoint)

    def _load_checkpoint(self, query: JsonObject) -> Checkpoint | None:
        try:
            checkpoint = msgspec.json.decode(self._journal.read_bytes(), type=Checkpoint)
            is_complete = self._part.stat().st_size >= checkpoint.size
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return checkpoint if is_complete and checkpoint.query == query else None

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write the page to disk, then the checkpoint."""
        super().save_checkpoint(msgspec.structs.replace(checkpoint, size=self.file.tell()))
        os.fsync(self.file.fileno())
        new_journal = self._journal.with_name(f"{self._journal.name}.new")
        new_journal.write_bytes(msgspec.json.encode(self.checkpoint))
        new_journal.replace(self._journal)

    def finish(self) -> None:
        """Rename the file to its final name and replace an earlier export."""
        # Windows does not rename open files.
        self.file.close()
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
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; default: standard output.",
)
@click.option("--user-id", metavar="ID", help="Only sessions of this user.")
@click.option("--session-group", metavar="NAME", help="Only sessions of this group.")
@click.option("--model", metavar="NAME", help="Only sessions with this model.")
@click.option("--status", type=STATUSES, help="Only sessions in this status.")
@server_options
def export_command(address: ServerAddress, *, output: Path | None, **filters: str | None) -> None:
    """Export sessions with all their messages: newline-delimited JSON, one session a line, the newest first.

    If an export to a file is interrupted, run the same command again to resume it. The file gets its name when it is
    complete. Sessions that are created during the export are not part of it.
    """
    query = {"url": address.url, "organisation": address.organisation, **filters}
    destination = FileOutput(output, query) if output else Output(sys.stdout.buffer, Checkpoint(query))
    label = str(output or "export")
    with contextlib.ExitStack() as stack:
        if output:
            stack.enter_context(contextlib.closing(destination.file))
        with usage_errors(), progress_bar(label) as advance:
            asyncio.run(_export(address, filters, destination, advance))
    click.echo(f"{label}: {destination.checkpoint.sessions} sessions", err=True)


async def _export(address: ServerAddress, filters: JsonObject, output: Output, advance: Callable[[int], None]) -> None:
    options = address.client_options() | {"max_retries": _RETRIES}
    async with sessionary.AsyncClient(address.url, **options) as client:
        exporter = Exporter(client, filters)
        while not output.checkpoint.complete:
            lines, following = await exporter.page(output.checkpoint)
            sessions = output.checkpoint.sessions
            async for line in lines:
                if line:
                    output.file.writelines(line)
                    output.file.write(b"\n")
                    sessions += 1
                    advance(1)
                # Free a long line before the next one arrives.
                del line
            output.save_checkpoint(msgspec.structs.replace(following, sessions=sessions))
    output.finish()
