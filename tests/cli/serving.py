"""A running server for commands, and the commands as processes of their own."""

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

# Runs a command and writes down the most memory that the process ever held: `ru_maxrss` would count the parent's.
_MEASURED = """
import atexit, pathlib, re, sys
peak = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: peak.write_text(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]))
from sessionary.cli.main import main
main()
"""


class Measured(NamedTuple):
    """How a command ended, and what it took."""

    completed: subprocess.CompletedProcess[bytes]
    megabytes: float
    seconds: float


class Place(NamedTuple):
    """A server, and an organisation of its own on it."""

    server: ServerProcess
    organisation: str
    token: str

    @property
    def environment(self) -> dict[str, str]:
        """What a user of the commands has set."""
        return {
            "SESSIONARY_URL": self.server.base_url,
            "SESSIONARY_ORGANISATION": self.organisation,
            "SESSIONARY_TOKEN": self.token,
        }

    def of(self, organisation: str) -> "Place":
        """The same server and token, and another organisation."""
        return self._replace(organisation=organisation)

    def run(
        self, *words: str, stdin: bytes = b"", directory: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "sessionary", *words],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            cwd=directory,
            env=surroundings(self.environment | variables),
        )

    def start(self, *words: str, directory: Path) -> subprocess.Popen[bytes]:
        """Start a command and return at once."""
        return subprocess.Popen(
            [sys.executable, "-m", "sessionary", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=surroundings(self.environment),
            # Where the suite runs in the background, its children would ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - nothing else is done
        )

    def measure(self, *words: str, directory: Path, seconds: float = 10_000) -> Measured:
        """Run a command to its end, and measure it."""
        peak, started = directory / "peak", time.monotonic()
        completed = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(peak), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            cwd=directory,
            env=surroundings(self.environment),
        )
        return Measured(completed, int(peak.read_text()) / 1024, time.monotonic() - started)

    def sessions(self, directory: Path) -> list[dict[str, Any]]:
        """All sessions of the organisation with their messages, the newest first."""
        completed = self.run("export", directory=directory)
        assert completed.returncode == 0, completed.stderr
        return [json.loads(line) for line in completed.stdout.splitlines()]


def surroundings(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what is set about servers, and more."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONARY_")}
    return {**inherited, **more}


@contextlib.contextmanager
def serving(directory: Path, arguments: Sequence[str] = ()) -> Iterator[Place]:
    """Run a server, with a token for every organisation that may also import times."""
    with ServerProcess(f"sqlite:///{directory}/store.db", *arguments) as server:
        yield Place(server, "acme", server.create_token(scopes=SCOPES, all_organisations=True))


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Listen, and answer every connection's first request with the same bytes."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
