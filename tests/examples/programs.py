"""Running the example programs as their readers would."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.harness.processes import dies_with_parent
from tests.layout.paths import ROOT

EXAMPLES = ROOT / "examples"


def run(command: Sequence[str], environment: Mapping[str, str], typed: str = "") -> str:
    """Run a program to its end with this standard input, and return what it printed; it must succeed."""
    completed = subprocess.run(
        command, input=typed, capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


@contextmanager
def line_printed_by(command: Sequence[str]) -> Iterator[str]:
    """Run a server until the block ends; yields the first line that it prints."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=10)
