"""A server program: started on a free port, ended for certain."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from tests.harness.processes import dies_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 15
POLL_SECONDS = 0.005


class ServerError(RuntimeError):
    """A server did not come up, or ended by itself."""


class Server:
    """One server process; in its command line `{port}` stands for the port."""

    def __init__(
        self,
        command: Sequence[str | Path],
        directory: Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self._command = [str(part).replace("{port}", str(self.port)) for part in command]
        self._directory = directory
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.ready_seconds = 0.0

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return ("127.0.0.1", self.port)

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"{self._command[:4]} does not run; its log ends:\n{self._log_end()}")
        return self._process.pid

    def start(self) -> None:
        """Start it, wait until it takes connections, and remember how long that took."""
        started = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it calls nothing but the kernel
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while not self._listens():
            _ = self.pid
            if time.perf_counter() - started > READY_SECONDS_MAX:
                self.stop()
                raise ServerError(f"not ready within {READY_SECONDS_MAX} s; its log ends:\n{self._log_end()}")
            time.sleep(POLL_SECONDS)
        self.ready_seconds = time.perf_counter() - started

    def stop(self) -> None:
        """End it politely, then by force."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(self.address) == 0

    def _log_end(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def free_port() -> int:
    """Return a TCP port that nothing on this machine listens on."""
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])
