"""Messages, metadata and tokens are in no log and no error, and tokens in no file of the database."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess, run_sessionary
from tests.http.callers import JSON, Caller, Response, as_json, message, unknown_id
from tests.http.raw_connection import RawConnection, head

CANARY = "kanarienvogel"


@pytest.fixture(params=["json", "text"])
def log_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sqlite", "postgres-18"])
def server(
    request: pytest.FixtureRequest, postgres_18: PostgresServer, log_format: str, tmp_path: Path
) -> Iterator[ServerProcess]:
    """A server on each store that logs at the level debug."""
    words = ("--no-first-token", "--log-level=debug", f"--log-format={log_format}", "--header-seconds=1")
    if request.param == "sqlite":
        with ServerProcess(f"sqlite:///{tmp_path}/store.db", *words, directory=tmp_path) as server:
            yield server
    else:
        with postgres_18.database() as url, ServerProcess(url, *words, directory=tmp_path) as server:
            yield server


def failed_requests(api: Caller) -> list[Response]:
    """Send requests that fail in every way, with the canary in every field."""
    session_id = api.new_session(
        userId=CANARY, sessionGroup=CANARY, metadata={CANARY: CANARY}, initialMessages=[message(CANARY)]
    )
    path = f"{api.sessions}/{session_id}"
    canary_message = message(CANARY, **{CANARY: CANARY})
    bad_members: list[dict[str, Any]] = [
        {"newMessages": [message(CANARY, CANARY)]},
        {"newMessages": [{CANARY: CANARY}]},
        {"newMessages": [CANARY]},
        {"newMessages": [message({CANARY: CANARY})]},
        {"newMessages": [message([CANARY])]},
        {"newMessages": [canary_message] * 1_001},
        {"newMessages": [message(CANARY * 100_000)]},
        {"metadata": {CANARY: "\0"}},
        {"metadata": {CANARY: CANARY * 10_000}},
        {"metadata": CANARY},
        {"metadata": [CANARY]},
        {"status": CANARY},
        {"title": f"\n{CANARY}"},
        {"model": CANARY * 100},
        {"tokensUsed": CANARY},
    ]
    raw = CANARY.encode()
    bad_bodies = [
        b'{"' + raw,
        b'{"metadata":{"%b":1,"%b":2}}' % (raw, raw),
        b'{"newMessages":[{"role":"user","content":"%b","%b":1,"%b":1}]}' % (raw, raw, raw),
        b"\xff" + raw,
        b'{"a":"\\ud800%b"}' % raw,
        b'{"a":%b}' % raw,
        b"[" * 70 + b'"%b"' % raw + b"]" * 70,
        b'{"metadata":{"%b":1e999}}' % raw,
        b'"%b"' % raw,
    ]
    tokens = [f"sny_{CANARY}", f"{api.token}{CANARY}", str(api.token)[:-1] + "x"]
    return [
        *(api.update(session_id, **members) for members in bad_members),
        *(api.create(**{**members, "userId": "ada\n" + CANARY}) for members in bad_members),
        *(api.update_raw(session_id, body) for body in bad_bodies),
        *(api.create_raw(body) for body in bad_bodies),
        *(api.extend_raw(session_id, body) for body in bad_bodies[:1] + bad_bodies[3:4]),
        *(api.with_token(token).list() for token in tokens),
        api.with_token(None).list(f"?access_token={api.token}"),
        api.send("PUT", path, as_json({"newMessages": [canary_message]}), {**JSON, "If-Match": f'"{CANARY}"'}),
        api.send("PUT", path, b"{}", {**JSON, "Idempotency-Key": f"é{CANARY}"}),
        api.send("PUT", path, as_json({"metadata": {CANARY: 1}}), {"Content-Type": f"text/{CANARY}"}),
        api.get(unknown_id()),
        api.send("PATCH", path, as_json(canary_message), JSON),
        *refused_connections(api),
    ]


def refused_connections(api: Caller) -> Iterator[Response]:
    """Send bytes that are refused before they are a request."""
    bearing = {"Authorization": f"Bearer {api.token}", "X-A": CANARY}
    for sent in (
        head("GET", api.sessions, bearing)[:-2] + b"no colon " + CANARY.encode() + b"\r\n\r\n",
        head("GET", api.sessions, bearing)[:-2],
        head("GET", api.sessions, {**bearing, "X-B": CANARY * 30_000}),
        head("GET", f"{api.sessions}?x={CANARY * 8_000}", bearing),
    ):
        with RawConnection(api.port) as wire:
            wire.send(sent)
            yield wire.receive()


def test_no_secret_is_in_an_error_a_log_or_the_output_of_the_command_line(server: ServerProcess) -> None:
    token = server.create_token_object("demo")
    secret = token["token"].rpartition("_")[2]
    with Caller(server.port, token["token"], "demo") as api:
        responses = failed_requests(api)
        assert CANARY in json.dumps(api.list().json), "it is stored, and returned to authorized clients"
    revoked = run_sessionary("tokens", "revoke", token["id"], "--database", server.database)
    listed = run_sessionary("tokens", "list", "--json", "--database", server.database)
    assert server.terminate() == 0

    for response in responses:
        assert response.status >= 400, response
        text = response.body.decode() + json.dumps(dict(response.headers))
        assert CANARY not in text
        assert secret[:32] not in text
    for printed in (server.log.read_text(), revoked.stdout + revoked.stderr, listed.stdout + listed.stderr):
        assert printed
        assert CANARY not in printed
        assert secret[:32] not in printed


def files_with(directory: Path, secret: str) -> list[str]:
    """Return the files below a directory that contain a secret."""
    found = subprocess.run(["grep", "-rlaF", secret, directory], capture_output=True, text=True, check=False)
    assert found.returncode < 2, found.stderr
    return found.stdout.splitlines()


@pytest.mark.parametrize("log_format", ["json"], indirect=True)
def test_no_token_is_in_the_databases_files(server: ServerProcess, postgres_18: PostgresServer, tmp_path: Path) -> None:
    directory = tmp_path if server.database.startswith("sqlite") else postgres_18.directory
    tokens = [server.create_token("demo", name=f"name-{CANARY}") for _ in range(3)]
    for token in tokens:
        with Caller(server.port, token, "demo") as api:
            api.new_session(userId=f"user-{CANARY}")
    assert files_with(directory, f"user-{CANARY}"), "these files contain the data"

    def stored() -> list[str]:
        secrets = [token.rpartition("_")[2] for token in tokens]
        pieces = [piece for secret in secrets for piece in (secret[:64], secret[16:48])]
        pieces += [bytes.fromhex(secret[:64]).hex() for secret in secrets]
        return [file for piece in pieces for file in files_with(directory, piece)]

    assert stored() == []
    assert server.terminate() == 0
    assert stored() == []
