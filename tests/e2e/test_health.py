"""An outage of the database: the server stays up, is not ready, and recovers by itself."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.api_client import ApiClient, Response, first_token
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

STORE_SECONDS = 2.0
# The time limit of the store, and some time for HTTP on a busy machine.
ANSWER_SECONDS_MAX = STORE_SECONDS + 1.5


@pytest.fixture
def server(own_database: str) -> Iterator[ServerProcess]:
    with ServerProcess(own_database, "--store-seconds", str(STORE_SECONDS)) as running:
        yield running


@pytest.fixture
def api(server: ServerProcess) -> Iterator[ApiClient]:
    with ApiClient(server.base_url, first_token(server)) as connected:
        yield connected


@pytest.mark.parametrize("own_postgres", [18, 15], indirect=True)
def test_a_server_survives_a_stopped_database(
    own_postgres: PostgresServer, server: ServerProcess, api: ApiClient
) -> None:
    session = api.create("one")
    assert api.call("GET", "/health/ready").expect(200).json == {"status": "ready"}

    own_postgres.stop()
    assert_unavailable(api, session)
    for _ in range(20):
        assert_is_503(api.call("GET", "/health/ready"))
    lines = [line for line in server.log_lines() if "answered with 503" in line]
    assert 1 <= len(lines) < 10, "one for each cause, not one for each request"
    assert len(set(lines)) == len(lines)

    own_postgres.start()
    assert_recovered(api, session)


def test_a_server_survives_a_frozen_database(own_postgres: PostgresServer, api: ApiClient) -> None:
    session = api.create("one")

    with own_postgres.frozen():
        assert_unavailable(api, session)

    assert_recovered(api, session)


def test_a_server_survives_a_killed_database(own_postgres: PostgresServer, api: ApiClient) -> None:
    session = api.create("one")

    own_postgres.kill9()
    assert_unavailable(api, session)

    own_postgres.start()
    assert_recovered(api, session)


def assert_unavailable(api: ApiClient, session: str) -> None:
    requests = [
        ("GET", "/health/ready", None),
        ("GET", f"{api.path}/{session}", None),
        ("GET", api.path, None),
        ("POST", api.path, {"userId": "ada"}),
        ("PUT", f"{api.path}/{session}", {"metadata": {"during": "the outage"}}),
        ("PUT", f"{api.path}/{session}/extend", None),
    ]
    for method, path, body in requests:
        started = time.monotonic()
        refused = api.call(method, path, body)
        assert time.monotonic() - started < ANSWER_SECONDS_MAX, (method, path)
        assert_is_503(refused, is_read=method == "GET")

        started = time.monotonic()
        assert api.call("GET", "/health/live").expect(200).json == {"status": "live"}
        assert time.monotonic() - started < 1


def assert_is_503(response: Response, *, is_read: bool = True) -> None:
    assert response.status == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json
    # A write without a key whose outcome is unknown must not be retried.
    repeatable = is_read or problem["code"] == "OVERLOADED"
    assert response.headers["Retry-After"] == ("1" if repeatable else None)
    assert problem["code"] in {"STORE_UNAVAILABLE", "OVERLOADED"}
    assert problem["status"] == 503
    assert problem["message"] == problem["detail"]
    assert not {"postgres", "127.0.0.1", "asyncpg", "connect"} & set(response.body.decode().lower().split())


def assert_recovered(api: ApiClient, session: str) -> None:
    poll(lambda: api.call("GET", "/health/ready").status == 200, "a server that is ready again", seconds=15)
    api.append(session, "two").expect(200)
    assert api.contents(session) == ["one", "two"]
    assert session in [listed["id"] for listed in api.call("GET", api.path).expect(200).json]
