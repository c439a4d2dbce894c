# noqa: INP001 - a program, not a package
"""Generate the blocking client from the asyncio client: each ``client/_async_*.py`` becomes ``client/_*.py``.

``python scripts/generate_sync_client.py`` writes the files; with ``--check`` it only reports, with exit code 1, those
that are not current. The conversion is done by unasync, the formatting by ruff. A test and ``make check`` run it.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import unasync  # type: ignore[import-untyped]  # it has no types

ROOT: Final = Path(__file__).resolve().parent.parent
CLIENT: Final = ROOT / "src" / "sessionary" / "client"
PREFIX: Final = "_async_"

NAMES: Final = {
    "AsyncBaseTransport": "BaseTransport",
    "AsyncClient": "Client",
    "AsyncClientWithRawResponse": "ClientWithRawResponse",
    "AsyncConnectionPool": "ConnectionPool",
    "AsyncConversation": "Conversation",
    "AsyncNetworkTransport": "NetworkTransport",
    "AsyncPage": "Page",
    "AsyncRawMethod": "RawMethod",
    "AsyncSend": "Send",
    "_async_client": "_client",
    "_async_conversation": "_conversation",
    "_async_responses": "_responses",
    "async_transports": "transports",
    "asyncio": "time",
}
"""Names that differ between the two clients, besides those that unasync knows."""

TEXTS: Final = (
    ("Dependencies[Awaitable[None]]", "Dependencies[None]"),
    (" Awaitable,", ""),
    ("The client for programs on asyncio:", "The client for blocking programs:"),
    ("by tasks, by event loops of asyncio and by forked processes", "by threads and by forked processes"),
    ("Each event loop and each process gets", "Each process gets"),
    ("``async with``", "``with``"),
    ("``async for``", "``for``"),
)
"""Other replacements, in this order."""


def generate(folder: Path) -> dict[str, str]:
    """Return the generated files as texts by name, with ``folder`` as a place for temporary files."""
    sources, results = folder / "_async", folder / "_sync"
    sources.mkdir()
    for source in sorted(CLIENT.glob(f"{PREFIX}*.py")):
        shutil.copyfile(source, sources / f"_{source.name.removeprefix(PREFIX)}")
    rule = unasync.Rule(fromdir="/_async/", todir="/_sync/", additional_replacements=NAMES)
    unasync.unasync_files([str(source) for source in sources.iterdir()], [rule])
    for result in results.iterdir():
        result.write_text(_finish(result.read_text(encoding="utf-8"), f"{PREFIX}{result.name[1:]}"), encoding="utf-8")
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"
    settings = ("--quiet", "--config", str(ROOT / "pyproject.toml"), "--no-cache")
    for command in (("check", "--fix-only"), ("check", "--fix-only", "--unsafe-fixes", "--select=UP028"), ("format",)):
        subprocess.run([ruff, *command, *settings, str(results)], check=True)  # noqa: S603 - our own files
    return {result.name: result.read_text(encoding="utf-8") for result in sorted(results.iterdir())}


def _finish(text: str, source: str) -> str:
    for old, new in TEXTS:
        text = text.replace(old, new)
    # unasync changes names, but not the texts of docstrings and type comments in quotes.
    text = re.sub(r"\bA?[Ss]ync(?=(Client|Conversation|Page)\b)", "", text)
    # What was awaited needs no parentheses any more.
    text = re.sub(r"\(((?:self\.)?send\([\w.]+\))\)\.", r"\1.", text)
    return f"# Generated from {source} by scripts/generate_sync_client.py: change that file instead.\n{text}"


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` report which are not current."""
    with tempfile.TemporaryDirectory() as folder:
        generated = generate(Path(folder))
    changed = [name for name, text in generated.items() if _read(CLIENT / name) != text]
    if "--check" in arguments:
        for name in changed:
            sys.stderr.write(f"{CLIENT / name} is not current: run scripts/generate_sync_client.py\n")
        return 1 if changed else 0
    for name in changed:
        (CLIENT / name).write_text(generated[name], encoding="utf-8")
    return 0


def _read(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
