"""The first start: `sessionary serve` in an empty directory, and the printed curl command works when pasted."""

import contextlib
import json
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.database import count_rows, query
from tests.e2e.terminal import run_in_terminal, wait_for_text
from tests.harness.postgres import PostgresServer
from tests.harness.processes import free_port
from tests.harness.server import ServerProcess, run_sessionary
from tests.harness.waiting import poll


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty directory."""
    directory = tmp_path / "an empty directory"
    directory.mkdir()
    return directory


def test_the_first_start_prints_a_command_that_creates_a_session(empty: Path, tmp_path: Path) -> None:
    port = free_port()
    with run_in_terminal(empty, "serve", "--port", str(port), stdout=tmp_path / "printed") as server:
        printed = wait_for_text(tmp_path / "printed", "-d '{")

        location = empty / "sessionary.db"
        assert f"listens on http://127.0.0.1:{port} and stores its data in {location}\n" in printed
        tokens = [line.strip() for line in printed.splitlines() if line.strip().startswith("sny_")]
        assert len(tokens) == 1
        assert {file.name for file in empty.iterdir()} == {
            f"sessionary.db{end}" for end in ("", "-wal", "-shm", "-lock")
        }
        for file in empty.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name

        command = printed[printed.index("curl ") :]
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        pasted = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=False)
        assert pasted.returncode == 0, pasted.stderr
        session = json.loads(pasted.stdout)["sessionId"]

        with ApiClient(f"http://127.0.0.1:{port}", tokens[0]) as api:
            assert api.contents(session) == ["Hello"]
        assert server.poll() is None

    with run_in_terminal(empty, "serve", "--port", str(port), stdout=tmp_path / "printed"):
        printed = wait_for_text(tmp_path / "printed", "listens on")
        with ApiClient(f"http://127.0.0.1:{port}", tokens[0]) as api:
            assert api.contents(session) == ["Hello"], "the second start has the data of the first"
        printed = (tmp_path / "printed").read_text()
        assert "sny_" not in printed
        assert "curl" not in printed
        assert str(location) in printed
    assert count_rows(f"sqlite:///{location}", "tokens") == 1


@pytest.mark.parametrize("attempt", range(3))
def test_the_welcome_message_and_the_log_do_not_mix_their_lines(empty: Path, tmp_path: Path, attempt: int) -> None:
    del attempt  # Repeated, because their order was a race.
    with run_in_terminal(empty, "serve", "--port", "0", stdout=tmp_path / "printed"):
        wait_for_text(tmp_path / "printed", "-d '{")
    logged, greeted, after = (tmp_path / "printed").read_text().partition("sessionary listens on ")
    assert greeted
    lines = logged.splitlines()
    assert all(re.match(r"[0-9:]{8} INFO    ", line) for line in lines), logged
    assert lines[-1].split()[2] == "Listening"
    greeting = after[: after.index("-d '{")]
    assert " INFO " not in greeting
    assert greeting.splitlines()[0].endswith("sessionary.db")


def test_no_first_token_is_created_if_that_is_switched_off(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    words = ("serve", "--port", "0", "--no-first-token", "--database", database)
    with run_in_terminal(tmp_path, *words, stdout=tmp_path / "printed"):
        printed = wait_for_text(tmp_path / "printed", "listens on")
    assert "sny_" not in printed
    assert count_rows(database, "tokens") == 0


@pytest.mark.parametrize("engine", ["sqlite", "postgres-18"], indirect=True)
@pytest.mark.parametrize("words", [(), ("--first-token",), ("--log-format", "text", "--log-level", "debug")])
def test_without_a_terminal_no_token_is_created_and_the_log_says_how_to_create_one(
    database: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    with ServerProcess(database, *words, directory=tmp_path) as server:
        printed = "\n".join(server.log_lines())
        assert "sny_" not in printed
        assert "sessionary tokens create --organisation NAME" in printed
        assert count_rows(database, "tokens") == 0
        with ApiClient(server.base_url, server.first_token) as api:
            api.create("one")
        assert server.terminate() == 0
        server.start()
        assert "\n".join(server.log_lines()).count("tokens create") == 1, "there is a token now"


def test_no_first_token_is_created_if_there_is_a_token(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    run_sessionary("tokens", "create", "--organisation", "mine", "--database", database)
    with ServerProcess(database, directory=tmp_path) as server:
        assert "sny_" not in "\n".join(server.log_lines())
    assert query(database, "SELECT organisation FROM tokens") == [("mine",)]


def test_the_printed_command_works_with_a_path_prefix_and_on_ipv6(empty: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    words = ("serve", "--host", "::1", "--port", str(free_port()), "--path-prefix", "/chat")
    with run_in_terminal(empty, *words, stdout=tmp_path / "printed"):
        printed = wait_for_text(tmp_path / "printed", "-d '{")
        command = printed[printed.index("curl ") :]
        assert "http://[::1]:" in command
        pasted = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=False)
        assert json.loads(pasted.stdout)["status"] == "active"


def test_the_printed_address_has_the_actual_port_if_port_0_was_given(empty: Path, tmp_path: Path) -> None:
    with run_in_terminal(empty, "serve", "--port", "0", stdout=tmp_path / "printed"):
        printed = wait_for_text(tmp_path / "printed", "-d '{")
        base_url = printed.partition("sessionary listens on ")[2].split()[0]
        token = next(line.strip() for line in printed.splitlines() if line.strip().startswith("sny_"))
        with ApiClient(base_url, token) as api:
            api.create("one")


def test_a_port_in_use_is_reported_and_no_file_is_created(empty: Path, tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/store.db", directory=tmp_path) as server:
        completed = run_sessionary("serve", "--port", str(server.port), directory=empty)
    assert completed.returncode == 1
    expected = f"Cannot listen on 127.0.0.1:{server.port}: Address already in use."
    assert json.loads(completed.stderr.splitlines()[0])["message"] == f"The server did not start: {expected}"
    assert completed.stderr.splitlines()[1:] == [f"sessionary: {expected}"]
    assert completed.stdout == ""
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "reason"),
    [("nosuchhost.invalid", "Name or service not known"), ("192.0.2.1", "Cannot assign requested address")],
)
def test_an_address_of_another_machine_is_reported(empty: Path, host: str, reason: str) -> None:
    completed = run_sessionary("serve", "--behind-proxy", "--host", host, "--port", "0", directory=empty)
    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-1].startswith(f"sessionary: Cannot listen on {host}:0: ")
    assert reason in completed.stderr or "resolution" in completed.stderr
    assert list(empty.iterdir()) == []


def test_an_unreachable_postgresql_is_reported_without_the_password(empty: Path) -> None:
    for url in (
        f"postgresql://ada:geheim@127.0.0.1:{free_port()}/sessions",
        f"postgresql://127.0.0.1:{free_port()}/sessions?user=ada&password=geheim",
    ):
        words = ("--port", "0", "--wait-seconds", "0", "--database", url)
        completed = run_sessionary("serve", *words, directory=empty)
        assert_refused_without_the_password(completed)
        assert "127.0.0.1" in completed.stderr
        assert "refused" in completed.stderr.lower()


def test_a_postgresql_that_refuses_the_login_is_reported_without_the_password(
    postgres_18: PostgresServer, empty: Path
) -> None:
    for url in (
        f"postgresql://ada:geheim@127.0.0.1:{postgres_18.port}/postgres",
        f"postgresql://postgres:geheim@127.0.0.1:{postgres_18.port}/nowhere",
    ):
        completed = run_sessionary("serve", "--port", "0", "--database", url, directory=empty)
        assert_refused_without_the_password(completed)
        assert "does not exist" in completed.stderr


@pytest.mark.parametrize(
    "url", ["postgresql://ada:geheim@[::1/x", "postgresql://ada:geheim@db:port/x", "postgresql:///x?port=geheim"]
)
def test_an_invalid_database_url_is_reported_without_the_password(empty: Path, url: str) -> None:
    assert_refused_without_the_password(run_sessionary("serve", "--port", "0", "--database", url, directory=empty))


def assert_refused_without_the_password(completed: subprocess.CompletedProcess[str]) -> None:
    assert completed.returncode in {1, 2}
    assert completed.stdout == ""
    *logged, printed = completed.stderr.splitlines()
    assert printed.startswith("sessionary: ")
    assert {json.loads(line)["level"] for line in logged} <= {"info", "error"}, "it did not wait"
    assert "geheim" not in completed.stderr


@pytest.mark.parametrize("engine", ["postgres-18", "postgres-15"], indirect=True)
def test_two_servers_that_start_at_once_on_an_empty_store_both_start(database: str) -> None:
    servers = [ServerProcess(database, "--no-first-token") for _ in range(2)]
    try:
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.wait_until_ready()
        token = servers[0].create_token("demo")
        with ApiClient(servers[0].base_url, token) as one, ApiClient(servers[1].base_url, token) as other:
            session = one.create("one")
            other.append(session, "two").expect(200)
            assert one.contents(session) == ["one", "two"]
        assert [server.terminate() for server in servers] == [0, 0]
    finally:
        for server in servers:
            server.close()


@pytest.mark.parametrize("engine", ["postgres-18"], indirect=True)
def test_of_several_servers_that_start_at_once_one_prints_a_first_token(database: str, tmp_path: Path) -> None:
    ports = [free_port() for _ in range(4)]
    files = [tmp_path / f"printed-{port}" for port in ports]
    with contextlib.ExitStack() as stack:
        for port, file in zip(ports, files, strict=True):
            stack.enter_context(
                run_in_terminal(tmp_path, "serve", "--port", str(port), "--database", database, stdout=file)
            )
        poll(lambda: all("listens on" in file.read_text() for file in files), "four greetings")
        tokens = poll(lambda: tokens_in(files), "a token")
        for port in ports:
            with ApiClient(f"http://127.0.0.1:{port}", tokens[0]) as api:
                api.create("one")
        assert tokens_in(files) == tokens
        assert len(tokens) == 1
        assert count_rows(database, "tokens") == 1


def tokens_in(files: list[Path]) -> list[str]:
    """Return all printed tokens."""
    lines = [line.strip() for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if line.startswith("sny_")]
