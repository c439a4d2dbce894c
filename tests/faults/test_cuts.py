"""Connections cut before and after the request, inside the answer and inside the request: one effect, or none."""

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
from tests.client.answering import impatient
from tests.client.faults import FaultProxy, FieldError
from tests.e2e.calling import Caller, first_token, spoken
from tests.faults.doses import dose, note
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess

FAULTS: list[FieldError] = [faults.dropped_before, faults.dropped_after, faults.truncated, faults.cut_short]
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
    """The client's own retries and keys; every call suffers one cut or two."""
    chance, calls = Random(4), dose(300, 2_500)  # noqa: S311 - no secret
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
        lasting = client.create_session("lasting").session_id
        expires_at = client.get_session(lasting).expires_at
        assert expires_at is not None
        client.list_sessions()  # by now it knows that keys are honoured
        for number in range(calls):
            proxy.plan = [chance.choice(FAULTS) for _ in range(1 + number % 2)]
            client.update_session(lasting, new_messages=spoken(f"{number}"), tokens_used=1)
            assert proxy.plan == [], "every fault has struck"
            if number % 10 == 0:
                proxy.plan = [chance.choice(FAULTS)]
                client.extend_session(lasting, additional_minutes=1)
                proxy.plan = [chance.choice(FAULTS)]
                made = client.create_session(f"made {number}").session_id
                proxy.plan = [chance.choice(FAULTS)]
                client.delete_session(made) if number % 20 else None
        session = client.get_session(lasting)
        contents = [message["content"] for message in session.messages]
        assert contents == [f"{number}" for number in range(calls)], "each once, in order"
        assert session.total_tokens == calls
        assert session.expires_at is not None
        assert expires_at is not None
        assert session.expires_at - expires_at == timedelta(minutes=len(range(0, calls, 10)))
        made_for = [item.user_id for item in client.iterate_sessions() if item.user_id != "lasting"]
        assert sorted(str(user) for user in made_for) == sorted(f"made {number}" for number in range(0, calls, 20))
        note(calls=calls, attempts=len(proxy.arrived), reached=len(proxy.forwarded), **{"lost or doubled": 0})


class Cutter:
    """Sends part of a request, or all of it, and cuts the connection without waiting for an answer."""

    def __init__(self, server: ServerProcess, token: str, chance: Random) -> None:
        self._server = server
        self._token = token
        self._chance = chance

    def cut(self, method: str, path: str, body: dict[str, Any], key: str) -> bool:
        """Send as much as chance has it; tell whether that was all."""
        content = self._request(method, path, json.dumps(body).encode(), key)
        # A third is sent whole: the cut then comes while the server works on it, or answers.
        length = self._chance.choice([len(content), self._chance.randrange(len(content)), len(content) - 1])
        with socket.create_connection(("127.0.0.1", self._server.port), timeout=20) as connection:
            connection.sendall(content[:length])
            time.sleep(self._chance.choice([0, 0.001, 0.003]))
            if self._chance.random() < 0.5:
                # A reset instead of a farewell.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return length == len(content)

    def _request(self, method: str, path: str, body: bytes, key: str) -> bytes:
        chunked = self._chance.random() < 0.5
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        middle = len(body) // 2
        pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:middle], body[middle:], b"")]
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n"
            f'Content-Type: application/json\r\nIdempotency-Key: "{key}"\r\n{framing}\r\n\r\n'
        )
        return head.encode() + (b"".join(pieces) if chunked else body)


@ENGINES
def test_a_request_that_is_cut_is_applied_whole_or_not_at_all(server: ServerProcess) -> None:
    token, chance = first_token(server), Random(5)  # noqa: S311 - no secret
    cutter, applied, cuts = Cutter(server, token, chance), 0, dose(150, 1_500)
    with Caller(server.base_url, token) as caller:
        for number in range(cuts):
            create = {"userId": f"cut {number}", "initialMessages": spoken(*map(str, range(MESSAGES)))}
            whole = cutter.cut("POST", caller.path, create, f"create {number}")
            seen = sessions_of(caller, f"cut+{number}")
            assert seen in ([], [MESSAGES]) if whole else seen == []
            applied += len(seen)
            repeated = caller.call("POST", caller.path, create, {"Idempotency-Key": f'"create {number}"'}).expect(201)
            assert sessions_of(caller, f"cut+{number}") == [MESSAGES], "and once, when it is repeated"

            session = repeated.json["sessionId"]
            update = {
                "newMessages": spoken(*map(str, range(MESSAGES))),
                "tokensUsed": 7,
                "status": "completed",
                "metadata": {"number": number},
            }
            whole = cutter.cut("PUT", f"{caller.path}/{session}", update, f"update {number}")
            before: State = (MESSAGES, 0, "active", {})
            after: State = (2 * MESSAGES, 7, "completed", {"number": number})
            seen_now = state_of(caller, session)
            assert seen_now in (before, after) if whole else seen_now == before
            applied += seen_now == after
            caller.call("PUT", f"{caller.path}/{session}", update, {"Idempotency-Key": f'"update {number}"'}).expect(
                200
            )
            assert state_of(caller, session) == after
    note(cuts=2 * cuts, **{"applied by then": applied, "applied in part": 0, "doubled by the repetition": 0})


def sessions_of(caller: Caller, user: str) -> list[int]:
    """Tell how many messages each of someone's sessions has."""
    listed = caller.call("GET", f"{caller.path}?userId={user}").expect(200).json
    return [item["total_messages"] for item in listed]


def state_of(caller: Caller, session: str) -> State:
    now = caller.get(session)
    assert now["total_messages"] == len(now["messages"])
    return now["total_messages"], now["total_tokens"], now["status"], now["metadata"]
