"""What goes wrong on our side: told in the one shape, and nothing internal with it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.harness.server import ServerProcess
from tests.http.calling import JSON, Caller

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


def test_a_fault_of_ours_is_500_and_says_nothing_more(server: ServerProcess, caller: Caller) -> None:
    broken, sound = caller.begin(userId="broken"), caller.begin()
    run_sql(server, "UPDATE sessions SET metadata = CAST('no JSON' AS BLOB) WHERE user_id = 'broken'")
    answer = caller.update(broken, metadata={"a": 1})
    assert answer.refusal == (500, "INTERNAL")
    assert answer.problem["detail"] == "Something went wrong inside the service."
    assert "errors" not in answer.problem
    assert answer.headers["x-request-id"]
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


def test_a_store_that_fails_is_503_and_says_nothing_more(server: ServerProcess, caller: Caller) -> None:
    session_id = caller.begin()
    changes = _changes(caller, session_id)
    with broken(server):
        keyed = [caller.send(method, path, b'{"userId": "user"}', {**JSON, **KEY}) for method, path in changes]
        reads = [caller.get(session_id), caller.list(), caller.send("HEAD", caller.sessions)]
        assert {answer.status for answer in (*keyed, *reads)} == {503}
        assert {answer.refusal for answer in (*keyed, *reads[:2])} == {(503, "STORE_UNAVAILABLE")}
        assert {answer.headers["retry-after"] for answer in (*keyed, *reads)} == {"1"}
        assert caller.send("GET", "/health/live").status == 200
    assert caller.get(session_id).status == 200
    assert [session["id"] for session in caller.list().json] == [session_id]


def test_a_change_without_a_key_is_not_asked_to_be_repeated(server: ServerProcess, caller: Caller) -> None:
    """Some clients repeat by themselves what says so, and would append twice."""
    changes = _changes(caller, caller.begin())
    with broken(server):
        keyless = [caller.send(method, path, b'{"userId": "user"}', JSON) for method, path in changes]
    assert {answer.refusal for answer in keyless} == {(503, "STORE_UNAVAILABLE")}
    assert not [answer for answer in keyless if "retry-after" in answer.headers]
