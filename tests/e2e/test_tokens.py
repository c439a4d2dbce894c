"""Tokens of a running server: valid at once after they are created, and invalid 5 seconds after being revoked."""

import json
import time
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient
from tests.harness.server import ServerProcess, run_sessionary
from tests.harness.waiting import poll

SECONDS_MAX = 5.0


@pytest.mark.parametrize("engine", ["postgres-18"], indirect=True)
def test_a_revoked_token_is_refused_within_five_seconds(server: ServerProcess) -> None:
    token = server.create_token_object("demo")
    other = server.create_token("demo")
    with ApiClient(server.base_url, token["token"]) as api:
        session = api.create("one")  # from now on the server has cached the token

        revoked = run_sessionary("tokens", "revoke", token["id"], "--database", server.database)
        assert revoked.returncode == 0
        started = time.monotonic()
        path = f"{api.path}/{session}"
        poll(lambda: api.call("GET", path).status == 401, "a revoked token's end", seconds=SECONDS_MAX, pause=0.1)

        assert time.monotonic() - started <= SECONDS_MAX
        refused = api.call("PUT", path, {"metadata": {"late": True}})
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    with ApiClient(server.base_url, other) as api:
        assert api.get(session)["metadata"] == {}


@pytest.mark.parametrize("engine", ["sqlite", "postgres-18"], indirect=True)
def test_a_token_created_beside_a_running_server_is_valid_at_once(server: ServerProcess) -> None:
    made = server.create_token("elsewhere")
    with ApiClient(server.base_url, made, organisation="elsewhere") as api:
        api.create("one")


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_token_is_limited_to_its_scopes(server: ServerProcess, api: ApiClient) -> None:
    session = api.create("one")
    reading = server.create_token("demo", scopes=["sessions:read"])
    writing = server.create_token("demo", scopes=["sessions:write"])
    with ApiClient(server.base_url, reading) as reader, ApiClient(server.base_url, writing) as writer:
        assert reader.contents(session) == ["one"]
        assert reader.append(session, "two").expect(403).json["code"] == "SCOPE_MISSING"
        writer.append(session, "two").expect(200)
        assert writer.call("GET", f"{writer.path}/{session}").expect(403).json["code"] == "SCOPE_MISSING"
        assert reader.contents(session) == ["one", "two"]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_operators_token_is_valid_for_every_organisation(server: ServerProcess) -> None:
    token = server.create_token(all_organisations=True)
    for organisation in ("demo", "other"):
        with ApiClient(server.base_url, token, organisation=organisation) as api:
            api.create("one")
            assert len(api.call("GET", api.path).expect(200).json) == 1


@pytest.mark.usefixtures("needs_faketime")
def test_a_token_is_refused_once_it_has_expired(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/store.db", directory=tmp_path, movable_clock=True) as server:
        token = server.create_token("demo", expires="10m")
        with ApiClient(server.base_url, token) as api:
            api.create("one")
            assert server.clock is not None
            server.clock.move(9 * 60)
            api.create("two")
            server.clock.move(60)
            assert api.call("GET", api.path).status == 401


@pytest.mark.parametrize("engine", ["sqlite", "postgres-18"], indirect=True)
def test_the_last_use_of_a_token_is_stored_when_the_server_stops(server: ServerProcess) -> None:
    used, unused = server.create_token_object("demo"), server.create_token_object("demo")
    with ApiClient(server.base_url, used["token"]) as api:
        api.create("one")

    assert server.terminate() == 0

    listed = run_sessionary("tokens", "list", "--json", "--database", server.database).stdout.splitlines()
    last_used = {token["id"]: token["last_used_at"] for token in map(json.loads, listed)}
    assert last_used[used["id"]] > used["created_at"]
    assert last_used[unused["id"]] is None
