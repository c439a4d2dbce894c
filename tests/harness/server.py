"""A real server process, started by the command line."""

import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.harness.clock import MovableClock
from tests.harness.processes import dies_with_parent, free_port, tail
from tests.harness.waiting import poll

_PROGRAM = (sys.executable, "-m", "sessionary")
_HOST = "127.0.0.1"


def run_sessionary(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    seconds: float = 30,
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, and return its output and exit code."""
    return subprocess.run(
        [*_PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=directory,
        env=_environment(environment),
    )


class ServerProcess:
    """A server on a free port of 127.0.0.1; use it with `with`, or `start()` and `close()`.

    `arguments` follow those of `sessionary serve`; `environment` is added to this process's own (without its
    `SESSIONARY_…`). The server's working directory, log, clock and trace lie in `directory`. Naming system
    calls in `trace` runs it under strace; `movable_clock` gives it a `clock` of its own. Start it from a
    thread that lives as long as it shall (see `dies_with_parent`).
    """

    def __init__(
        self,
        database: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        trace: Sequence[str] = (),
        movable_clock: bool = False,
    ) -> None:
        self.database = database
        self.port = free_port()
        self.exit_code: int | None = None
        self._given_directory = directory
        self.directory = directory or Path(tempfile.mkdtemp(prefix="sessionary-server-"))
        self.log = self.directory / "server.log"
        self.trace = self.directory / "server.strace"
        self.clock = MovableClock(self.directory) if movable_clock else None
        self._arguments = arguments
        self._system_calls = trace
        self._environment = {**(environment or {}), **(self.clock.environment if self.clock else {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """The server's origin, without a slash at the end."""
        return f"http://{_HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process id; it changes with every start."""
        if self._process is None:
            raise AssertionError("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start the server and, by default, wait until it is ready."""
        if self.running:
            raise AssertionError("the server is already running")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._tracer(), *_PROGRAM, *self._serve()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=_environment(self._environment),
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, seconds: float = 15) -> None:
        """Wait until the server is ready; fails with the end of its log if it does not become ready."""
        try:
            poll(self._ready, "a server that is ready", seconds=seconds)
        except BaseException as error:
            self.kill9()
            if isinstance(error, AssertionError):
                raise AssertionError(f"{error}\n{tail(self.log)}") from error
            raise

    def terminate(self, seconds: float = 10) -> int:
        """Stop the server with SIGTERM and return its exit code; fails if it takes too long."""
        if self._process is None:
            raise AssertionError("the server is not running")
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            self.kill9()
            raise AssertionError(f"still running {seconds:g} s after SIGTERM\n{tail(self.log)}") from error
        return self._ended()

    def kill9(self) -> None:
        """Kill the server with SIGKILL and wait for its end."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(timeout=10)
        self._ended()

    def restart(self) -> None:
        """Stop the server, unless it has ended, and start it again with the same port and store."""
        if self.running:
            self.terminate()
        self.start()

    def close(self) -> None:
        """Stop the server, or kill it if that fails, and remove its directory unless it was given."""
        try:
            if self.running:
                self.terminate()
        finally:
            self.kill9()
            if self._given_directory is None:
                shutil.rmtree(self.directory, ignore_errors=True)

    def log_lines(self) -> list[str]:
        """Return all that the server has printed since its first start."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []

    def trace_lines(self) -> list[str]:
        """Return the trace of the requested system calls; it is complete once the server has ended."""
        return self.trace.read_text(encoding="utf-8", errors="replace").splitlines()

    @functools.cached_property
    def first_token(self) -> str:
        """A token for the organisation demo."""
        return self.create_token("demo", name="first")

    def create_token(
        self,
        organisation: str | None = None,
        *,
        scopes: Sequence[str] = (),
        expires: str | None = None,
        all_organisations: bool = False,
        name: str = "test",
    ) -> str:
        """Create a token with the command line and return its text."""
        return str(
            self.create_token_object(
                organisation, scopes=scopes, expires=expires, all_organisations=all_organisations, name=name
            )["token"]
        )

    def create_token_object(
        self,
        organisation: str | None = None,
        *,
        scopes: Sequence[str] = (),
        expires: str | None = None,
        all_organisations: bool = False,
        name: str = "test",
    ) -> dict[str, Any]:
        """Create a token and return all that the command prints about it: `id`, `token` and more."""
        words = ["tokens", "create", "--database", self.database, "--name", name, "--json"]
        words += ["--organisation", organisation] if organisation is not None else []
        words += ["--all-organisations"] if all_organisations else []
        words += [word for scope in scopes for word in ("--scope", scope)]
        words += ["--expires", expires] if expires is not None else []
        completed = run_sessionary(*words, environment=self._environment, directory=self.directory)
        if completed.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: exit code {completed.returncode}\n{completed.stderr}")
        printed = json.loads(completed.stdout)
        if not isinstance(printed, dict):
            raise AssertionError(f"expected one JSON object, got {completed.stdout!r}")
        return printed

    def _serve(self) -> list[str]:
        address = ("--host", _HOST, "--port", str(self.port))
        return ["serve", *address, "--database", self.database, *self._arguments]

    def _tracer(self) -> list[str]:
        if not self._system_calls:
            return []
        strace = shutil.which("strace")
        if strace is None:
            raise AssertionError("strace is not installed: ask for the fixture needs_strace")
        # -D: strace is the grandchild, so that signals and exit codes are the server's own.
        wanted = f"trace={','.join(self._system_calls)}"
        return [strace, "-D", "-f", "-y", "-ttt", "-s256", "-A", f"--output={self.trace}", "-e", wanted]

    def _ready(self) -> bool:
        if not self.running:
            raise AssertionError(f"the server ended while starting, exit code {self._ended()}")
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _ended(self) -> int:
        if self._process is None or self._process.returncode is None:
            raise AssertionError("the server has not ended")
        pid, self.exit_code, self._process = self._process.pid, self._process.returncode, None
        if self._system_calls:
            # The tracer is not a child process: its trace is complete when it contains the end of the server.
            end = re.compile(rf"^{pid} .* \+\+\+ ", re.MULTILINE)
            poll(
                lambda: end.search(self.trace.read_text(encoding="utf-8", errors="replace")),
                "the end of strace's record",
            )
        if self.clock:
            _remove_faketime_leftovers(pid)
        return self.exit_code


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONARY_")}
    return {**inherited, **(more or {})}


def _remove_faketime_leftovers(pid: int) -> None:
    """Remove the shared memory that libfaketime leaves behind when a process is killed."""
    for leftover in Path("/dev/shm").glob(f"*faketime*_{pid}"):  # noqa: S108
        with contextlib.suppress(OSError):
            leftover.unlink()
