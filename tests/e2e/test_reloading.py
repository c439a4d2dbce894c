"""SIGHUP: certificates, limits and the log level are reloaded, and no request fails."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.terminal import open_terminal
from tests.e2e.test_stopping import wait_for_end
from tests.harness.certificates import self_signed
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

RELOADED = "The settings were reloaded: certificates, limits and log level"
NOT_RELOADED = "The settings were not reloaded, the old ones stay in force: "


def reload(server: ServerProcess, expected: str = RELOADED) -> None:
    """Send SIGHUP and wait until the server has logged the expected line."""
    before = logged(server, expected)
    os.kill(server.pid, signal.SIGHUP)
    poll(lambda: logged(server, expected) > before, f"{expected!r} in the log")


def logged(server: ServerProcess, text: str) -> int:
    return sum(text in line for line in server.log_lines())


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "sessionary.toml"


@pytest.fixture
def server(tmp_path: Path, settings: Path) -> Iterator[ServerProcess]:
    settings.write_text("")
    with ServerProcess(f"sqlite:///{tmp_path}/store.db", directory=tmp_path) as running:
        yield running


def test_limits_and_log_level_are_reloaded_under_load_and_no_request_fails(
    server: ServerProcess, settings: Path, tmp_path: Path
) -> None:
    token = server.first_token
    stopped = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        # Opened once, so that a lost connection is an error.
        with ApiClient(server.base_url, token) as api:
            session = api.create("one")
            while not stopped.is_set():
                statuses.append(api.append(session, "more").status)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            (tmp_path / "limits.toml").write_text(f"[organisations.other]\nsessions = {number + 1}\n")
            settings.write_text(f'limits_file = "limits.toml"\nlog_level = "{"info" if number % 2 else "debug"}"\n')
            reload(server)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert set(statuses) == {200}

    other = server.create_token("other")
    with ApiClient(server.base_url, other, organisation="other") as api:
        for _ in range(10):
            api.create()
        assert api.call("POST", api.path, {"userId": "ada"}).json["code"] == "QUOTA_EXCEEDED"
        settings.write_text("token_rate = 0.001\n")
        reload(server)
        api.create()
        assert api.call("POST", api.path, {"userId": "ada"}).json["code"] == "RATE_LIMITED"
        settings.write_text("")
        reload(server)
        api.create()


def test_used_up_rate_limits_stay_used_up_after_a_reload(server: ServerProcess, settings: Path) -> None:
    settings.write_text("token_rate = 0.001\ntoken_burst = 2\n")
    reload(server)
    with ApiClient(server.base_url, server.first_token) as api:
        api.create()
        api.create()
        reload(server)
        assert api.call("POST", api.path, {"userId": "ada"}).status == 429


INVALID = [
    ("port = ", "cannot be read"),
    ("log_level = 'loud'", "The setting log_level"),
    ("prot = 1", "There is no setting"),
    ("limits_file = 'nowhere.toml'", "The limits file nowhere.toml cannot be read"),
    ("token_burst = 5", "a burst needs requests per second"),
    ("tls_certificate = 'nowhere.pem'", "TLS needs both"),
]


def test_invalid_settings_change_nothing_and_are_logged(server: ServerProcess, settings: Path) -> None:
    with ApiClient(server.base_url, server.first_token) as api:
        for content, expected in INVALID:
            settings.write_text(f"organisation_sessions = 1\n{content}\n")
            reload(server, NOT_RELOADED)
            assert logged(server, expected), (expected, server.log_lines()[-3:])
            api.create()


def test_changed_settings_that_need_a_restart_are_logged(server: ServerProcess, settings: Path) -> None:
    settings.write_text("connections = 7\nbody_seconds = 9.0\n")
    reload(server)
    poll(lambda: logged(server, "take effect after a restart: body_seconds, connections."), "the names")
    settings.write_text("body_seconds = 9.0\n")
    reload(server)
    poll(
        lambda: logged(server, "take effect after a restart: body_seconds."), "the setting that differs from the start"
    )


def test_new_connections_get_the_new_certificate_and_old_ones_stay_open(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    words = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    server = ServerProcess(f"sqlite:///{tmp_path}/store.db", *words, directory=tmp_path)
    with contextlib.closing(server):
        server.start(wait=False)
        poll(lambda: logged(server, "Listening on https://"), "a server that listens")
        before = certificate.read_bytes()
        with connect_tls(server.port, "localhost") as connection:
            assert certificate_of(connection) == before
            self_signed(tmp_path)
            reload(server)
            after = certificate.read_bytes()
            assert after != before
            for name in ("localhost", None):
                with connect_tls(server.port, name) as fresh:
                    assert certificate_of(fresh) == after
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        key.write_text("no key")
        reload(server, NOT_RELOADED)
        with connect_tls(server.port, "localhost") as fresh:
            assert certificate_of(fresh) == after
        assert "PRIVATE" not in "\n".join(server.log_lines())


@contextlib.contextmanager
def connect_tls(port: int, name: str | None) -> Iterator[ssl.SSLSocket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as wire,
        context.wrap_socket(wire, server_hostname=name) as secured,
    ):
        yield secured


def certificate_of(connection: ssl.SSLSocket) -> bytes:
    found = connection.getpeercert(binary_form=True)
    assert found is not None
    return ssl.DER_cert_to_PEM_cert(found).encode()


def test_sighup_is_harmless_during_startup_and_stop(own_postgres: PostgresServer, own_database: str) -> None:
    own_postgres.stop()
    with contextlib.closing(ServerProcess(own_database)) as server:
        server.start(wait=False)
        poll(lambda: logged(server, "Waiting for the database"), "a server that waits")
        for _ in range(5):
            os.kill(server.pid, signal.SIGHUP)
        own_postgres.start()
        server.wait_until_ready(30)
        os.kill(server.pid, signal.SIGTERM)
        with contextlib.suppress(AssertionError, ProcessLookupError):
            while server.running:
                os.kill(server.pid, signal.SIGHUP)
        assert wait_for_end(server, 10) == 0
        assert logged(server, "Traceback") == 0


def test_sighup_is_harmless_before_the_program_is_loaded(tmp_path: Path) -> None:
    program = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "sessionary.cli.main":
            print(sorted({"asyncio", "click", "msgspec"} & sys.modules.keys()), file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGHUP)

sys.meta_path.insert(0, Finder())
from sessionary.cli.entry import main
main()
"""
    words = [sys.executable, "-c", program, "serve", "--port", "0", "--database", f"sqlite:///{tmp_path}/store.db"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        poll(lambda: RELOADED in (tmp_path / "log").read_text(), "a reload once the server has started")
        process.terminate()
        assert process.wait(timeout=20) == 0
        assert (tmp_path / "log").read_text().startswith("[]"), "nothing slow is loaded before"
    finally:
        process.kill()
        process.wait(timeout=20)


def exit_code_of(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait for a program to end; one that does not end is made to show what each of its threads does."""
    try:
        return process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        process.wait(timeout=20)
        raise AssertionError(f"it did not stop: {log.read_text()}") from None


def test_a_server_stops_when_its_terminal_is_closed(tmp_path: Path) -> None:
    controller, program_end = open_terminal()
    program = (
        # A suite that was started with nohup ignores SIGHUP, and so would the server: it is meant to outlive its terminal.
        "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.setsid();"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "os.execv(sys.executable, [sys.executable, '-m', 'sessionary', 'serve', '--port', '0'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONARY_")}
    environment["PYTHONFAULTHANDLER"] = "1"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            stdin=program_end,
            stdout=program_end,
            stderr=log,
            env=environment,
        )
    os.close(program_end)
    try:
        shown = b""
        while b"curl" not in shown:
            shown += os.read(controller, 65_536)
        process.send_signal(signal.SIGHUP)
        poll(lambda: RELOADED in (tmp_path / "log").read_text(), "a reload")
        os.close(controller)
        assert exit_code_of(process, tmp_path / "log") == 0
        assert "Received SIGTERM" in (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait(timeout=10)
