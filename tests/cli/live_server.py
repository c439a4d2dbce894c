"""A running server for the commands, which run as separate processes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sessionary.server.operations.tokens import SCOPES
from tests.harness.server import ServerProcess

# Runs a command and writes the peak memory of its process to a file: `ru_maxrss` would include the parent's.
_MEASURED = """
import atexit, pathlib, re, sys
peak = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: peak.write_text(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]))
from sessionary.cli.main import main
main()
"""


class Measured(NamedTuple):
    """The result of a command, and its peak memory and duration."""

    completed: subprocess.CompletedProcess[bytes]
    megabytes: float
    seconds: float


class Tenant(NamedTuple):
    """A server, and the test's own organisation on it."""

    server: ServerProcess
    organisation: str
    token: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the commands."""
        return {
            "SESSIONARY_URL": self.server.base_url,
            "SESSIONARY_ORGANISATION": self.organisation,
            "SESSIONARY_TOKEN": self.token,
        }

    def of(self, organisation: str) -> "Tenant":
        """The same server and token, and another organisation."""
        return self._replace(organisation=organisation)

    def run(
        self, *words: str, stdin: bytes = b"", directory: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command and wait for it."""
        return subprocess.run(
            [sys.executable, "-m", "sessionary", *words],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            cwd=directory,
            env=clean_environment(self.environment | variables),
        )

    def start(self, *words: str, directory: Path) -> subprocess.Popen[bytes]:
        """Start a command without waiting."""
        return subprocess.Popen(
            [sys.executable, "-m", "sessionary", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=clean_environment(self.environment),
            # Where the suite runs in the background, its children would ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - nothing else is done
        )

    def measure(self, *words: str, directory: Path, seconds: float = 10_000) -> Measured:
        """Run a command, wait for it and measure it."""
        peak, started = directory / "peak", time.monotonic()
        completed = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(peak), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            cwd=directory,
            env=clean_environment(self.environment),
        )
        return Measured(completed, int(peak.read_text()) / 1024, time.monotonic() - started)

    def sessions(self, directory: Path) -> list[dict[str, Any]]:
        """All sessions of the organisation with their messages, the newest first."""
        completed = self.run("export", directory=directory)
        assert completed.returncode == 0, completed.stderr
        return [json.loads(line) for line in completed.stdout.splitlines()]


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without SESSIONARY_ variables, with ``more`` added."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONARY_")}
    return {**inherited, **more}


@contextlib.contextmanager
def running_server(directory: Path, arguments: Sequence[str] = ()) -> Iterator[Tenant]:
    """Run a server with a token for all organisations that has every scope."""
    with ServerProcess(f"sqlite:///{directory}/store.db", *arguments) as server:
        yield Tenant(server, "acme", server.create_token(scopes=SCOPES, all_organisations=True))


@contextlib.contextmanager
def answering(response: bytes) -> Iterator[str]:
    """Listen, and send the same bytes in response to the first request of every connection."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(response)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
