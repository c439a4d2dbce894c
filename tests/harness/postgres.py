"""A real PostgreSQL server for tests, which also works as root."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest

from tests.harness.binaries import NOBODY, PostgresUnavailableError, find_binaries, public_temporary_directory
from tests.harness.processes import (
    dies_with_parent,
    free_port,
    freeze_family,
    is_running,
    kill9_family,
    tail,
    thaw,
)
from tests.harness.waiting import poll

_AS_ROOT = os.geteuid() == 0
_USER = NOBODY if _AS_ROOT else None
_NO_GROUPS: list[str | int] | None = [] if _AS_ROOT else None
# The server does not inherit the environment: no PG… variable, no preloaded library.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_DIRECTORY_PREFIX = "sessionary-postgres-data-"
_READY_LINE = 8


class PostgresServer:
    """A new cluster on a free port of 127.0.0.1; use it with `with`, or `start()` and `close()`.

    Without `fsync` only a crash of the machine would lose data, a crash of the server does not. `settings`
    are further server settings, by name. Start it from a thread that lives as long as the server (see
    `dies_with_parent`).
    """

    def __init__(self, major: int, *, fsync: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.major = major
        self.port = free_port()
        self._binaries = find_binaries(major)
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "synchronous_commit": "on",
            "fsync": "on" if fsync else "off",
            **(settings or {}),
        }
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def version(self) -> str:
        """The server's full version, such as `15.18`."""
        return self._run_tool("postgres", "--version").partition("(PostgreSQL)")[2].split()[0]

    @property
    def pid(self) -> int:
        """The postmaster's process id; it changes with every start."""
        if self._process is None:
            raise AssertionError("PostgreSQL is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the postmaster runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """The file that the server writes its messages to."""
        return self._home / "server.log"

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database of this server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, on the data of an earlier start if any, and wait until it takes connections."""
        if self.running:
            raise AssertionError("PostgreSQL is already running")
        if self._directory is None:
            self._directory = self._create_cluster()
        settings = [f"--{name.replace('_', '-')}={value}" for name, value in self._settings.items()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=_ENVIRONMENT,
                user=_USER,
                group=_USER,
                extra_groups=_NO_GROUPS,
                # Immediate shutdown: it takes the backends and the shared memory with it.
                preexec_fn=dies_with_parent(signal.SIGQUIT),
            )
        try:
            poll(self._ready, "a PostgreSQL that takes connections", seconds=60)
        except BaseException as error:
            self.kill9()
            if isinstance(error, AssertionError):
                raise AssertionError(f"{error}\n{tail(self.log)}") from error
            raise

    def make_standby(self) -> Self:
        """Copy this running server to one that follows it and takes no writes until promoted; start it oneself."""
        other = type(self)(self.major, settings=self._settings)
        other._directory = _make_directory()  # noqa: SLF001 - our own kind
        source = f"host=127.0.0.1 port={self.port} user=postgres"
        options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        try:
            self._run_tool("pg_basebackup", "-d", source, "-D", str(other.directory / "data"), *options)
        except BaseException:
            other.close()
            raise
        return other

    def promote(self) -> None:
        """Let a standby take writes from now on."""
        assert self.run_sql("SELECT pg_promote(true, 30)") == "t"

    def stop(self) -> None:
        """End the server as an operator would (fast shutdown: clients are cut off, nothing is lost)."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill9()
        self._process = None

    def kill9(self) -> None:
        """Kill the postmaster and every backend at once, as a crash does, and wait until all are gone."""
        if self._process is None:
            return
        if self.running:
            kill9_family(self._process.pid)
        self._process.wait(timeout=10)
        self._process = None

    def restart(self) -> None:
        """Stop, unless already ended, and start again: same port, same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server and remove its data."""
        try:
            self.stop()
        finally:
            if self._directory is not None:
                shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server for a while: connections stay open and nothing answers."""
        family = freeze_family(self.pid)
        try:
            yield
        finally:
            thaw(family)

    def run_sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement through psql and return its rows, columns parted by `|`."""
        plain = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1")
        return self._run_tool("psql", *plain, "-d", self.url(database), "-c", statement).strip()

    def create_database(self, template: str | None = None) -> str:
        """Create a database, a copy of `template` (another one's URL) if given, and return its URL."""
        name = f"test_{secrets.token_hex(8)}"
        clause = f' TEMPLATE "{_name_in(template)}" STRATEGY FILE_COPY' if template else ""
        self.run_sql(f'CREATE DATABASE "{name}"{clause}')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, cutting off whoever is still connected to it."""
        self.run_sql(f'DROP DATABASE IF EXISTS "{_name_in(url)}" WITH (FORCE)')

    @contextlib.contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """Lend the URL of a database of one's own, removed at the end (the server must run by then)."""
        url = self.create_database(template)
        try:
            yield url
        finally:
            if not self.running:
                self.start()
            self.drop_database(url)

    @property
    def directory(self) -> Path:
        """Where the cluster's files lie."""
        return self._home

    @property
    def _home(self) -> Path:
        if self._directory is None:
            raise AssertionError("PostgreSQL was never started")
        return self._directory

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def _ready(self) -> bool:
        if not self.running:
            raise AssertionError("PostgreSQL ended while starting")
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # A crash leaves its own file behind, ready line and all: only the file of *this* process counts.
        is_own_file = bool(lines) and lines[0] == str(self.pid)
        return is_own_file and len(lines) >= _READY_LINE and lines[_READY_LINE - 1].strip() in {"ready", "standby"}

    def _create_cluster(self) -> Path:
        directory = _make_directory()
        try:
            options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
            self._run_tool("initdb", "-D", str(directory / "data"), *options)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return directory

    def _run_tool(self, tool: str, *arguments: str) -> str:
        completed = subprocess.run(
            [self._binaries / tool, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
            env=_ENVIRONMENT,
            user=_USER,
            group=_USER,
            extra_groups=_NO_GROUPS,
            preexec_fn=dies_with_parent(signal.SIGKILL),
        )
        if completed.returncode != 0:
            raise AssertionError(f"{tool} failed:\n{completed.stdout}{completed.stderr}")
        return completed.stdout


def postgres_or_skip(major: int, *, fsync: bool = False) -> PostgresServer:
    """Make a server, not started; skips where this version is not to be had."""
    try:
        return PostgresServer(major, fsync=fsync)
    except PostgresUnavailableError as error:
        pytest.skip(str(error))


def _make_directory() -> Path:
    parent = public_temporary_directory()
    _remove_leftovers(parent)
    directory = Path(tempfile.mkdtemp(prefix=f"{_DIRECTORY_PREFIX}{os.getpid()}-", dir=parent))
    if _USER is not None:
        os.chown(directory, _USER, _USER)
    return directory


def _name_in(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _remove_leftovers(parent: Path) -> None:
    """Remove the data of test runs that were killed before they could do it themselves."""
    for directory in parent.glob(f"{_DIRECTORY_PREFIX}*"):
        owner = directory.name.removeprefix(_DIRECTORY_PREFIX).partition("-")[0]
        if owner.isdigit() and not is_running(int(owner)):
            shutil.rmtree(directory, ignore_errors=True)
