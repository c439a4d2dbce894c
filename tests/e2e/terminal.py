"""Running the command line in a pseudo-terminal."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.harness.processes import dies_with_parent
from tests.harness.waiting import poll


@contextlib.contextmanager
def run_in_terminal(
    directory: Path, *words: str, stdout: Path, stderr: int | IO[bytes] = subprocess.STDOUT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `sessionary WORDS` in a directory, on a terminal, until the block ends, and copy its output to a file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONARY_")}
    controller, program_end = open_terminal()
    process = subprocess.Popen(
        [sys.executable, "-m", "sessionary", *words],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=program_end,
        stderr=stderr,
        env=environment,
        preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509 - only calls prctl
    )
    os.close(program_end)
    stdout.write_bytes(b"")
    watcher = threading.Thread(target=copy_output, args=(controller, stdout))
    watcher.start()
    try:
        yield process
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait(timeout=10)
        watcher.join(timeout=10)
        os.close(controller)


def open_terminal() -> tuple[int, int]:
    """Open a pseudo-terminal that keeps line ends; returns its controlling end and that of the program."""
    controller, program_end = pty.openpty()
    modes = termios.tcgetattr(program_end)
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(program_end, termios.TCSANOW, modes)
    return controller, program_end


def copy_output(terminal: int, file: Path) -> None:
    """Copy the output of a terminal to a file until its other end is closed."""
    # Reading fails when the other end is closed.
    with file.open("ab", buffering=0) as copied, contextlib.suppress(OSError):
        while piece := os.read(terminal, 65_536):
            copied.write(piece)


def wait_for_text(file: Path, text: str) -> str:
    """Wait until a file contains a text, and return its content."""
    poll(lambda: text in file.read_text(), f"{text!r} in {file.name}")
    return file.read_text()
