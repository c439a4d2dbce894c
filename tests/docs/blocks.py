"""Finds the code blocks of a page, and runs the shell blocks as if a reader pasted them into a terminal."""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.layout.paths import ROOT

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A code block and the heading above it."""

    language: str
    text: str
    heading: str


def blocks(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page in these languages; raises AssertionError if there are none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [
        Block(match[1], match[2], _HEADING.findall(text[: match.start()])[-1])
        for match in _BLOCK.finditer(text)
        if match[1] in languages
    ]
    if not found:
        raise AssertionError(f"no {languages} block in {page}")
    return found


def joined_script(found: list[Block]) -> str:
    """Join blocks into one shell script; Python blocks are passed to `python3`."""
    return "\n".join(
        f"echo {shlex.quote(f'# {number}: {block.heading}')} >&2\n"
        + (f"python3 - <<'END_OF_PYTHON'\n{block.text}END_OF_PYTHON\n" if block.language == "python" else block.text)
        for number, block in enumerate(found, 1)
    )


def run_shell(script: str, directory: Path, environment: Mapping[str, str], seconds: float = 240) -> str:
    """Run a bash script and return its standard output; raises AssertionError if any command fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONARY_")}
    completed = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if completed.returncode != 0:
        raise AssertionError(f"exit code {completed.returncode}\n{completed.stderr}\n{completed.stdout}")
    return completed.stdout
