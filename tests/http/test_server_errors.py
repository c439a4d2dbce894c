"""Errors of the server: they have the common form and reveal nothing internal."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.harness.server import ServerProcess
from tests.http.callers import JSON, Caller

KEY = {"Idempotency-Key": "a-key"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server on a file that the test may break."""
    with ServerProcess(f"sqlite:///{tmp_path}/store.db", directory=tmp_path) as server:
        yield server


@pytest.fixture
def operator_token(server: ServerProcess) -> str:
    return server.create_token(all_organisations=True)


def run_sql(server: ServerProcess, statement: str) -> None:
    with contextlib.closing(apsw.Connection(server.database.removeprefix("sqlite:///"))) as file:
        file.execute(statement)


def test_an_internal_error_is_500_without_details(server: ServerProcess, caller: Caller) -> None:
    broken, sound = caller.new_session(userId="broken"), caller.new_session()
    run_sql(server, "UPDATE sessions SET metadata = CAST('no JSON' AS BLOB) WHERE user_id = 'broken'")
    response = caller.update(broken, metadata={"a": 1})
    assert response.error == (500, "INTERNAL")
    assert response.problem["detail"] == "Something went wrong inside the service."
    assert "errors" not in response.problem
    assert response.headers["x-request-id"]
    assert caller.update(sound, metadata={"a": 1}).status == 200
    assert any("Traceback" in line for line in server.log_lines())


@contextlib.contextmanager
def broken(server: ServerProcess) -> Iterator[None]:
    run_sql(server, "ALTER TABLE sessions RENAME TO elsewhere")
    yield
    run_sql(server, "ALTER TABLE elsewhere RENAME TO sessions")


def _changes(caller: Caller, session_id: str) -> list[tuple[str, str]]:
    one = f"{caller.sessions}/{session_id}"
    return [("POST", caller.sessions), ("PUT", one), ("PUT", f"{one}/extend"), ("DELETE", one)]


def test_a_failing_store_is_503_without_details(server: ServerProcess, caller: Caller) -> None:
    session_id = caller.new_session()
    changes = _changes(caller, session_id)
    with broken(server):
        keyed = [caller.send(method, path, b'{"userId": "user"}', {**JSON, **KEY}) for method, path in changes]
        reads = [caller.get(session_id), caller.list(), caller.send("HEAD", caller.sessions)]
        assert {response.status for response in (*keyed, *reads)} == {503}
        assert {response.error for response in (*keyed, *reads[:2])} == {(503, "STORE_UNAVAILABLE")}
        assert {response.headers["retry-after"] for response in (*keyed, *reads)} == {"1"}
        assert caller.send("GET", "/health/live").status == 200
    assert caller.get(session_id).status == 200
    assert [session["id"] for session in caller.list().json] == [session_id]


def test_a_change_without_a_key_gets_no_retry_after(server: ServerProcess, caller: Caller) -> None:
    """Some clients repeat every response with Retry-After on their own, and would append twice."""
    changes = _changes(caller, caller.new_session())
    with broken(server):
        keyless = [caller.send(method, path, b'{"userId": "user"}', JSON) for method, path in changes]
    assert {response.error for response in keyless} == {(503, "STORE_UNAVAILABLE")}
    assert not [response for response in keyless if "retry-after" in response.headers]
