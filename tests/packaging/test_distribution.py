"""The wheel and the sdist: valid, and installable with and without the server's libraries."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.harness.processes import dies_with_parent, free_port
from tests.harness.waiting import poll
from tests.layout.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SERVER_LIBRARIES = {"apsw", "asyncpg", "httptools", "uvicorn", "uvloop"}
SERVER_COMMANDS = [
    ["serve"],
    ["migrate"],
    ["migrate", "--check"],
    ["openapi"],
    ["audit"],
    ["backup", "copy.db"],
    ["restore", "copy.db"],
    ["tokens", "create", "--organisation", "acme"],
    ["tokens", "list"],
    ["tokens", "revoke", "some-id"],
]
CLIENT_COMMANDS = [
    ["create-session", "--user-id", "ada"],
    ["list-sessions"],
    ["get-session", "some-id"],
    ["update-session", "some-id", "--status", "completed"],
    ["extend-session", "some-id"],
    ["delete-session", "some-id"],
    ["export"],
    ["import", "sessions.jsonl"],
    ["chat", "--echo"],
]
STARTUP_SECONDS = 60


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without variables that change what Python or sessionary do."""
    changing = re.compile(r"SESSIONARY_|PYTHON|VIRTUAL_ENV|COVERAGE")
    inherited = {name: value for name, value in os.environ.items() if not changing.match(name)}
    return inherited | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | variables


def run(*words: str | Path, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program and wait for it."""
    return subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        cwd=directory,
        env=environment(**variables),
    )


class Installation:
    """A new virtual environment with the wheel."""

    def __init__(self, directory: Path, requirement: str) -> None:
        self.directory = directory
        created = run(sys.executable, "-m", "venv", directory / "venv", directory=directory)
        assert created.returncode == 0, created.stderr
        installed = self.run(
            "python", "-m", "pip", "install", "--constraint", str(ROOT / "constraints.txt"), requirement
        )
        assert installed.returncode == 0, installed.stdout + installed.stderr

    def program(self, name: str) -> Path:
        return self.directory / "venv" / "bin" / name

    def run(self, name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment and wait for it."""
        return run(self.program(name), *words, directory=self.directory, **variables)

    def distributions(self) -> set[str]:
        """The names of the installed distributions."""
        listed = self.run("python", "-m", "pip", "list", "--format", "json")
        return {entry["name"].lower() for entry in json.loads(listed.stdout)}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--outdir", directory, ROOT, directory=directory)
    assert built.returncode == 0, built.stdout + built.stderr
    return directory


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (wheel,) = distributions.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def client_only(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("client"), str(wheel))


@pytest.fixture(scope="module")
def with_server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("server"), f"{wheel}[server]")


def test_wheel_and_sdist_pass_twine_check_and_contain_every_file_of_the_package(distributions: Path) -> None:
    files = sorted(distributions.iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"]
    checked = run(sys.executable, "-m", "twine", "check", "--strict", *files, directory=distributions)
    assert checked.returncode == 0, checked.stdout + checked.stderr

    package = ROOT / "src" / "sessionary"
    sources = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(files[0]) as archive:
        assert {f"sessionary/{name}" for name in sources} <= set(archive.namelist())
    with tarfile.open(files[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/sessionary/{name}" for name in sources} | {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_without_the_extra_none_of_the_servers_libraries_is_installed(client_only: Installation) -> None:
    installed = client_only.distributions()
    assert {"sessionary", "click", "httpx2", "msgspec", "wcwidth"} <= installed
    assert not installed & SERVER_LIBRARIES


def test_without_the_extra_the_client_and_every_client_command_work(client_only: Installation) -> None:
    imported = client_only.run("python", "-c", "from sessionary import AsyncClient, Client, NotFoundError")
    assert imported.returncode == 0, imported.stderr
    assert client_only.run("sessionary", "--version").stdout.strip().endswith(version("sessionary"))
    (client_only.directory / "sessions.jsonl").write_text('{"user_id": "ada", "messages": []}\n')
    address = {"SESSIONARY_URL": "http://127.0.0.1:1", "SESSIONARY_ORGANISATION": "acme"}
    for words in CLIENT_COMMANDS:
        completed = client_only.run("sessionary", *words, "--timeout", "1", **address)
        assert completed.returncode == 5, (words, completed.stderr)
        assert "Traceback" not in completed.stderr


def test_without_the_extra_help_works_and_server_commands_say_what_to_install(client_only: Installation) -> None:
    helped = client_only.run("sessionary", "--help")
    assert helped.returncode == 0, helped.stderr
    for words in SERVER_COMMANDS:
        assert words[0] in helped.stdout
        completed = client_only.run("sessionary", *words)
        assert completed.returncode == 2, (words, completed.stderr)
        (line,) = completed.stderr.splitlines()
        assert line.startswith("sessionary: ")
        assert "pip install 'sessionary[server]'" in line
        assert client_only.run("sessionary", words[0], "--help").returncode == 0


@pytest.fixture
def served(with_server: Installation) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    log = with_server.directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [with_server.program("sessionary"), "serve", "--port", str(port)],
            cwd=with_server.directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509 - calls prctl and nothing else
        )
    try:
        yield process, f"http://127.0.0.1:{port}/health/live"
    finally:
        process.kill()
        process.wait()


def test_with_the_extra_the_server_starts_and_stops(served: tuple[subprocess.Popen[bytes], str]) -> None:
    process, url = served

    def is_live() -> bool:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the address is ours
                return bool(response.status == 200)
        except urllib.error.URLError:
            return False

    poll(is_live, "the server is live", seconds=STARTUP_SECONDS, pause=0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(STARTUP_SECONDS) == 0
