"""The log of a real server: one entry for each request, and never a body, a token or a message."""

import fcntl
import io
import json
import os
import pty
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.api_client import ApiClient, first_token
from tests.e2e.database import query
from tests.e2e.terminal import run_in_terminal, wait_for_text
from tests.harness.processes import free_port
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

CANARY = "kanarienvogel"


def entries(server: ServerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log_lines() if line.startswith("{")]


def entry_of(server: ServerProcess, request_id: str) -> dict[str, Any]:
    return poll(
        lambda: next((entry for entry in entries(server) if entry.get("request_id") == request_id), None),
        f"the entry of request {request_id}",
    )


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_every_request_is_one_line_of_json(server: ServerProcess, api: ApiClient) -> None:
    response = api.call("POST", api.path, {"userId": "ada"}, {"X-Request-Id": "mine-1"}).expect(201)
    api.call("GET", f"{api.path}/{response.json['sessionId']}", headers={"X-Request-Id": "mine-2"}).expect(200)
    api.call("GET", "/nowhere", headers={"X-Request-Id": "mine-3"}).expect(404)
    unnamed = api.call("PATCH", api.path).expect(405).headers["X-Request-Id"]

    entry = entry_of(server, "mine-1")
    assert set(entry) == {
        *("time", "level", "logger", "request_id", "organisation", "route", "method", "status", "milliseconds"),
        *("client", "token_id", "session_id", "request_bytes", "response_bytes"),
    }
    assert entry["client"] == "127.0.0.1"
    assert entry["token_id"] == first_token(server).split("_")[1]
    assert entry["session_id"] == response.json["sessionId"]
    assert (entry["request_bytes"], entry["response_bytes"]) == (len(b'{"userId": "ada"}'), len(response.body))
    assert (entry["level"], entry["logger"]) == ("info", "sessionary.access")
    assert (entry["organisation"], entry["route"], entry["method"]) == ("demo", "create_session", "POST")
    assert entry["status"] == 201
    assert 0 < entry["milliseconds"] < 10_000
    assert entry_of(server, "mine-2")["route"] == "get_session"
    assert entry_of(server, "mine-2")["session_id"] == response.json["sessionId"]
    assert (entry_of(server, "mine-3")["route"], entry_of(server, "mine-3")["status"]) == (None, 404)
    assert entry_of(server, "mine-3")["path"] == "/nowhere"
    assert (entry_of(server, unnamed)["organisation"], entry_of(server, unnamed)["status"]) == ("demo", 405)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_token_sent_as_the_organisation_is_not_logged(server: ServerProcess, api: ApiClient) -> None:
    token = first_token(server)
    for number, path in enumerate((f"/api/v3/organizations/{token}/ai/sessions", f"{api.path}/{token}")):
        api.call("GET", path, headers={"X-Request-Id": f"swapped-{number}"})
        entry_of(server, f"swapped-{number}")
    api.call("GET", api.path, headers={"X-Request-Id": token}).expect(200)
    assert entry_of(server, "sny_***")["status"] == 200
    assert token[:30] not in "\n".join(map(str, entries(server)))


def test_on_a_terminal_the_log_is_readable_text(tmp_path: Path) -> None:
    controller, program_end = pty.openpty()
    shown = io.BytesIO()

    def watch() -> None:
        # Reading fails when the other end is closed.
        try:
            while piece := os.read(controller, 65_536):
                shown.write(piece)
        except OSError:
            pass

    port = free_port()
    watcher = threading.Thread(target=watch)
    with os.fdopen(program_end, "wb") as terminal:
        words = ("serve", "--port", str(port))
        with run_in_terminal(tmp_path, *words, stdout=tmp_path / "printed", stderr=terminal):
            terminal.close()
            watcher.start()
            printed = wait_for_text(tmp_path / "printed", "-d '{")
            token = next(line.strip() for line in printed.splitlines() if line.strip().startswith("sny_"))
            with ApiClient(f"http://127.0.0.1:{port}", token) as api:
                api.create("one")
                api.call("GET", "/nowhere").expect(404)
            poll(lambda: b" 404 GET " in shown.getvalue(), "a line on the terminal")
    watcher.join(timeout=10)
    os.close(controller)

    lines = shown.getvalue().decode().replace("\r\n", "\n").splitlines()
    requests = [line for line in lines if " INFO " not in line]
    assert len(requests) == 2
    assert " 201 POST   create_session " in requests[0]
    assert " ms  demo  " in requests[0]
    assert "  /nowhere  " in requests[1]
    assert not any(line.startswith("{") for line in lines)


@pytest.fixture(params=["debug", "info"])
def verbose_server(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that logs at a verbose level."""
    with ServerProcess(database, "--log-level", request.param, directory=tmp_path) as running:
        yield running


@pytest.mark.parametrize("engine", ["sqlite", "postgres-18"], indirect=True)
@pytest.mark.parametrize("verbose_server", ["debug"], indirect=True)
def test_no_body_token_or_message_is_ever_logged(verbose_server: ServerProcess) -> None:
    printed = verbose_server.log.stat().st_size
    token = first_token(verbose_server)
    with ApiClient(verbose_server.base_url, token) as api:
        session = api.create(
            CANARY, metadata={CANARY: CANARY, "title": CANARY}, userId=CANARY, sessionGroup=CANARY, model=CANARY
        )
        api.update(session, newMessages=[{"role": "user", "content": CANARY, CANARY: CANARY}], title=CANARY)
        api.update(session, newMessages=[{"role": CANARY, "content": CANARY}]).expect(400)
        api.update(session, metadata={CANARY: "\0"}).expect(400)
        api.update(session, tokensUsed=CANARY).expect(400)
        api.call("PUT", f"{api.path}/{session}", b'{"' + CANARY.encode()).expect(400)
        api.call("PUT", f"{api.path}/{session}", b"\xff" + CANARY.encode()).expect(400)
        api.call("POST", api.path, b'{"userId": "\\ud800' + CANARY.encode() + b'"}').expect(400)
        api.call("GET", f"{api.path}?userId={CANARY}&limit={CANARY}").expect(400)
        api.call("GET", f"{api.path}?cursor={CANARY}").expect(400)
        api.call("GET", f"/nowhere?{CANARY}").expect(404)
        api.call("GET", f"/{token}").expect(404)
        api.call("GET", f"/a/{token.replace('_', '%5F')}").expect(404)
        api.call("GET", api.path, headers={"Authorization": f"Bearer {CANARY}"}).expect(401)
        api.call("GET", api.path, headers={"Authorization": f"Basic {CANARY}"}).expect(401)
        api.call("GET", api.path, headers={"Cookie": CANARY, "User-Agent": CANARY, "X-Request-Id": f"{CANARY} ä"})
        api.call("DELETE", f"{api.path}/{session}").expect(200)
    assert verbose_server.terminate() == 0
    logged = verbose_server.log.read_bytes()[printed:]
    assert logged.count(b"sessionary.access") >= 16
    assert CANARY.encode() not in logged
    assert token.encode() not in logged
    assert token.rpartition("_")[2][:32].encode() not in logged


def test_an_internal_error_is_logged_with_its_traceback_and_not_sent_to_the_client(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    with ServerProcess(database, directory=tmp_path) as server, ApiClient(server.base_url, first_token(server)) as api:
        session, healthy = api.create("one"), api.create("one")
        # As if another program had damaged the stored data.
        query(
            database,
            f"UPDATE sessions SET metadata = X'{CANARY.encode().hex()}' WHERE id = X'{session.replace('-', '')}'",
        )

        response = api.update(session, metadata={"a": 1}).expect(500)

        assert response.json == {
            "type": "about:blank",
            "title": "Internal error",
            "status": 500,
            "detail": "Something went wrong inside the service.",
            "code": "INTERNAL",
            "message": "Something went wrong inside the service.",
        }
        assert response.headers["Content-Type"] == "application/problem+json"
        api.update(healthy, metadata={"a": 1}).expect(200)
        api.append(session, "two").expect(200)
        failures = [entry for entry in entries(server) if "exception" in entry]
        assert len(failures) == 1
        assert failures[0]["level"] == "error"
        assert "Traceback (most recent call last)" in failures[0]["exception"]
        assert "DecodeError" in failures[0]["exception"]
        assert CANARY not in server.log.read_text()
        assert entry_of(server, response.headers["X-Request-Id"])["level"] == "error"


def test_a_closed_log_does_not_stop_the_server(tmp_path: Path) -> None:
    port = free_port()
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as log:
        words = ("serve", "--port", str(port))
        with run_in_terminal(tmp_path, *words, stdout=tmp_path / "printed", stderr=log):
            log.close()
            printed = wait_for_text(tmp_path / "printed", "-d '{")
            token = next(line.strip() for line in printed.splitlines() if line.strip().startswith("sny_"))
            with ApiClient(f"http://127.0.0.1:{port}", token) as api:
                api.create("one")
                os.close(reading)
                session = api.create("two")
                for _ in range(5):
                    api.append(session, "more").expect(200)


def test_a_full_log_does_not_stop_the_server(tmp_path: Path) -> None:
    port = free_port()
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    with os.fdopen(writing, "wb") as log:
        words = ("serve", "--port", str(port))
        with run_in_terminal(tmp_path, *words, stdout=tmp_path / "printed", stderr=log):
            log.close()
            printed = wait_for_text(tmp_path / "printed", "-d '{")
            token = next(line.strip() for line in printed.splitlines() if line.strip().startswith("sny_"))
            with ApiClient(f"http://127.0.0.1:{port}", token) as api:
                session = api.create("one")
                for _ in range(300):
                    api.append(session, "more").expect(200)
                    api.call("GET", "/nowhere").expect(404)
    os.close(reading)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_server_logs_its_start_and_stop(tmp_path: Path, log_format: str) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    with ServerProcess(database, "--log-format", log_format, directory=tmp_path) as server:
        assert server.terminate() == 0
        lines = server.log_lines()
    expected = [
        f"Starting sessionary {version('sessionary')} for {server.base_url} with the database {database}.",
        "The database is open; migrations applied: 0001_sessions, ",
        f"Listening on {server.base_url}.",
        "Received SIGTERM; finishing 0 requests.",
        "Stopped; 0 requests were aborted.",
    ]
    found = [number for text in expected for number, line in enumerate(lines) if text in line]
    assert found == sorted(found)
    assert len(found) == len(expected)
    if log_format == "json":
        logged = [json.loads(line) for line in lines]
        assert {entry["level"] for entry in logged} == {"info"}
        assert logged[0]["version"] == version("sessionary")
        assert logged[0]["address"] == server.base_url
        assert logged[0]["database"] == database
        assert logged[-1]["requests_cut"] == 0


def test_ignored_variables_are_logged_at_startup(tmp_path: Path) -> None:
    environment = {"SESSIONARY_LOGLEVEL": "debug", "SESSIONARY_SERVICE_HOST": "10.0.0.1"}
    with ServerProcess(f"sqlite:///{tmp_path}/s.db", environment=environment, directory=tmp_path) as server:
        warned = [entry["message"] for entry in entries(server) if entry["level"] == "warning"]
    assert len(warned) == 1
    assert warned[0].endswith("Did you mean SESSIONARY_LOG_LEVEL?")


def test_health_checks_are_not_logged_and_forwarded_addresses_only_behind_a_proxy(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.7, 10.0.0.1", "X-Request-Id": "mine"}
    for words, expected in (((), None), (("--behind-proxy",), "203.0.113.7, 10.0.0.1")):
        with ServerProcess(f"sqlite:///{tmp_path}/s.db", *words, directory=tmp_path) as server:
            (server.directory / "server.log").write_text("")
            with ApiClient(server.base_url, "x") as api:
                api.call("GET", "/health/live").expect(200)
                api.call("GET", "/nowhere", headers=forwarded).expect(404)
            entry = entry_of(server, "mine")
            assert entry.get("forwarded_for") == expected
            assert entry["client"] == "127.0.0.1"
            assert not any(entry.get("route") == "/health/live" for entry in entries(server))
