"""A server started by hand: for what the harness's own would hide."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.harness.processes import dies_with_parent
from tests.harness.waiting import poll


@contextlib.contextmanager
def started(
    directory: Path, *words: str, stdout: Path, stderr: int | IO[bytes] = subprocess.STDOUT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `sessionary WORDS` in a directory until the block ends; what it prints goes to a file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONARY_")}
    with stdout.open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "sessionary", *words],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=stderr,
            env=environment,
            preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509 - prctl and nothing else
        )
    try:
        yield process
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait(timeout=10)


def wait_for_text(file: Path, text: str) -> str:
    """Return all that a file holds once a text is in it."""
    poll(lambda: text in file.read_text(), f"{text!r} in {file.name}")
    return file.read_text()
