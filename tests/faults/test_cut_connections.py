"""Connections that are cut before, during and after the request or response: the request has one effect or none."""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sessionary import Client
from tests.client import faults
from tests.client.faults import Fault, FaultProxy
from tests.client.mock_servers import impatient
from tests.e2e.api_client import ApiClient, first_token, user_messages
from tests.faults.soak import log_figures, soak_scaled
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess

FAULTS: list[Fault] = [faults.dropped_before, faults.dropped_after, faults.truncated, faults.cut_short]
MESSAGES = 50
State = tuple[int, int, str, dict[str, Any]]
"""Messages, tokens, status and metadata of a session."""
ENGINES = pytest.mark.parametrize("engine", ["sqlite", "postgres-18"])


@pytest.fixture
def server(engine: str, tmp_path: Path, postgres_18: PostgresServer) -> Iterator[ServerProcess]:
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/store.db" if engine == "sqlite" else stack.enter_context(postgres_18.database())
        yield stack.enter_context(ServerProcess(url))


@ENGINES
def test_a_call_whose_connection_is_cut_has_one_effect(server: ServerProcess) -> None:
    """Each call of the client, which retries with idempotency keys, has its connection cut once or twice."""
    rng, calls = Random(4), soak_scaled(300, 2_500)  # noqa: S311 - no secret
    with (
        FaultProxy(server.port) as proxy,
        Client(
            proxy.base_url,
            token=first_token(server),
            organisation="demo",
            timeout=20,
            _dependencies=impatient("blocking"),
        ) as client,
    ):
        session_id = client.create_session("lasting").session_id
        expires_at = client.get_session(session_id).expires_at
        assert expires_at is not None
        client.list_sessions()  # by now the client knows that the server supports keys
        for number in range(calls):
            proxy.plan = [rng.choice(FAULTS) for _ in range(1 + number % 2)]
            client.update_session(session_id, new_messages=user_messages(f"{number}"), tokens_used=1)
            assert proxy.plan == [], "every fault was injected"
            if number % 10 == 0:
                proxy.plan = [rng.choice(FAULTS)]
                client.extend_session(session_id, additional_minutes=1)
                proxy.plan = [rng.choice(FAULTS)]
                made = client.create_session(f"made {number}").session_id
                proxy.plan = [rng.choice(FAULTS)]
                client.delete_session(made) if number % 20 else None
        session = client.get_session(session_id)
        contents = [message["content"] for message in session.messages]
        assert contents == [f"{number}" for number in range(calls)], "each message once, in order"
        assert session.total_tokens == calls
        assert session.expires_at is not None
        assert session.expires_at - expires_at == timedelta(minutes=len(range(0, calls, 10)))
        made_for = [item.user_id for item in client.iterate_sessions() if item.user_id != "lasting"]
        assert sorted(str(user) for user in made_for) == sorted(f"made {number}" for number in range(0, calls, 20))
        log_figures(calls=calls, attempts=len(proxy.arrived), reached=len(proxy.forwarded), **{"lost or doubled": 0})


class RequestCutter:
    """Sends part of a request, or all of it, and closes the connection without waiting for a response."""

    def __init__(self, server: ServerProcess, token: str, rng: Random) -> None:
        self._server = server
        self._token = token
        self._rng = rng

    def cut(self, method: str, path: str, body: dict[str, Any], key: str) -> bool:
        """Send a random part of a request; returns whether it was all of it."""
        content = self._request(method, path, json.dumps(body).encode(), key)
        # A third is sent completely, so that the connection is cut while the server processes or answers it.
        length = self._rng.choice([len(content), self._rng.randrange(len(content)), len(content) - 1])
        with socket.create_connection(("127.0.0.1", self._server.port), timeout=20) as connection:
            connection.sendall(content[:length])
            time.sleep(self._rng.choice([0, 0.001, 0.003]))
            if self._rng.random() < 0.5:
                # Reset the connection instead of closing it.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return length == len(content)

    def _request(self, method: str, path: str, body: bytes, key: str) -> bytes:
        chunked = self._rng.random() < 0.5
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        middle = len(body) // 2
        pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:middle], body[middle:], b"")]
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n"
            f'Content-Type: application/json\r\nIdempotency-Key: "{key}"\r\n{framing}\r\n\r\n'
        )
        return head.encode() + (b"".join(pieces) if chunked else body)


@ENGINES
def test_a_request_that_is_cut_is_applied_completely_or_not_at_all(server: ServerProcess) -> None:
    token, rng = first_token(server), Random(5)  # noqa: S311 - no secret
    cutter, applied, cuts = RequestCutter(server, token, rng), 0, soak_scaled(150, 1_500)
    with ApiClient(server.base_url, token) as api:
        for number in range(cuts):
            create = {"userId": f"cut {number}", "initialMessages": user_messages(*map(str, range(MESSAGES)))}
            whole = cutter.cut("POST", api.path, create, f"create {number}")
            seen = sessions_of(api, f"cut+{number}")
            assert seen in ([], [MESSAGES]) if whole else seen == []
            applied += len(seen)
            repeated = api.call("POST", api.path, create, {"Idempotency-Key": f'"create {number}"'}).expect(201)
            assert sessions_of(api, f"cut+{number}") == [MESSAGES], "applied once after it was repeated"

            session = repeated.json["sessionId"]
            update = {
                "newMessages": user_messages(*map(str, range(MESSAGES))),
                "tokensUsed": 7,
                "status": "completed",
                "metadata": {"number": number},
            }
            whole = cutter.cut("PUT", f"{api.path}/{session}", update, f"update {number}")
            before: State = (MESSAGES, 0, "active", {})
            after: State = (2 * MESSAGES, 7, "completed", {"number": number})
            seen_now = state_of(api, session)
            assert seen_now in (before, after) if whole else seen_now == before
            applied += seen_now == after
            api.call("PUT", f"{api.path}/{session}", update, {"Idempotency-Key": f'"update {number}"'}).expect(200)
            assert state_of(api, session) == after
    log_figures(cuts=2 * cuts, **{"applied by then": applied, "applied in part": 0, "doubled by the repetition": 0})


def sessions_of(api: ApiClient, user: str) -> list[int]:
    """Return the number of messages of each session of a user."""
    listed = api.call("GET", f"{api.path}?userId={user}").expect(200).json
    return [item["total_messages"] for item in listed]


def state_of(api: ApiClient, session: str) -> State:
    now = api.get(session)
    assert now["total_messages"] == len(now["messages"])
    return now["total_messages"], now["total_tokens"], now["status"], now["metadata"]
