"""A change without a key whose response was lost gets it when it is repeated; other requests are never compared."""

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.database import write_lock
from tests.harness.certificates import self_signed
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll
from tests.http.callers import Caller, Response, as_json, message
from tests.http.raw_connection import RawConnection, head
from tests.http.store_servers import STORES

HELLO = as_json({"newMessages": [message("Hello")]})
REPLAYED = "idempotent-replayed"
RESET = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose database a test can block."""
    directory = tmp_path_factory.mktemp("undelivered")
    words = ("--no-first-token", "--store-seconds", "120")
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            database = f"sqlite:///{directory}/store.db"
        else:
            postgres = request.getfixturevalue("postgres_18")
            assert isinstance(postgres, PostgresServer)
            database = stack.enter_context(postgres.database())
        yield stack.enter_context(ServerProcess(database, *words, directory=directory))


@pytest.fixture(scope="module")
def operator_token(server: ServerProcess) -> str:
    return server.create_token(all_organisations=True)


def encode_request(caller: Caller, path: str, body: bytes = HELLO, token: str | None = None, **more: str) -> bytes:
    headers = {
        "Authorization": f"Bearer {token or caller.token}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return head("PUT", path, headers) + body


def contents(caller: Caller, session_id: str) -> list[str]:
    return [each["content"] for each in caller.read(session_id)["messages"]]


def send_and_leave(server: ServerProcess, request: bytes, *, reset: bool = False) -> None:
    """Send a request and close the connection before the response."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def lose(server: ServerProcess, caller: Caller, session_id: str, request: bytes, *, reset: bool = False) -> None:
    """Let an update be applied whose client has disconnected meanwhile."""
    before = contents(caller, session_id)
    with write_lock(server.database):
        send_and_leave(server, request, reset=reset)
    poll(lambda: len(contents(caller, session_id)) > len(before), "an effect", seconds=60)


@pytest.mark.parametrize("way", ["closed", "reset"])
def test_a_lost_response_is_given_again_once(server: ServerProcess, caller: Caller, way: str) -> None:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    lose(server, caller, session_id, encode_request(caller, path), reset=way == "reset")
    again = caller.update_raw(session_id, HELLO)
    assert (again.status, again.headers[REPLAYED]) == (200, "true")
    assert again.json["totalMessages"] == 1
    assert again.headers["etag"] == '"2"'
    assert contents(caller, session_id) == ["Hello"]
    third = caller.update_raw(session_id, HELLO)
    assert REPLAYED not in third.headers
    assert third.json["totalMessages"] == 2


def test_both_variants_of_the_path_are_the_same_request(server: ServerProcess, caller: Caller) -> None:
    session_id = caller.new_session()
    other = f"{caller.sessions}/{session_id}".replace("organizations", "organisations")
    lose(server, caller, session_id, encode_request(caller, other))
    assert caller.update_raw(session_id, HELLO).headers[REPLAYED] == "true"


def test_another_request_does_not_get_a_lost_response(server: ServerProcess, caller: Caller) -> None:
    session_id, sibling = caller.new_session(), caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    lose(server, caller, session_id, encode_request(caller, path))
    with RawConnection(server.port, seconds=60) as connection:
        different: list[bytes] = [
            encode_request(caller, path, as_json({"newMessages": [message("Hello!")]})),
            encode_request(caller, f"{path}?a=b"),
            encode_request(caller, f"{caller.sessions}/{sibling}"),
            encode_request(caller, path, If_Match='"5"'),
            encode_request(caller, path, Idempotency_Key=f"key-{session_id}"),
            encode_request(caller, path, token=server.create_token(all_organisations=True)),
        ]
        for request in different:
            connection.send(request)
            response = connection.receive()
            assert REPLAYED not in response.headers
            assert response.status in {200, 412}
        connection.send(encode_request(caller, path, token="sny_nonsense"))
        assert connection.receive().status == 401
    assert caller.update_raw(session_id, HELLO).headers[REPLAYED] == "true"


def test_a_token_of_another_organisation_does_not_get_a_lost_response(server: ServerProcess, caller: Caller) -> None:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    lose(server, caller, session_id, encode_request(caller, path))
    with RawConnection(server.port, seconds=60) as connection:
        connection.send(encode_request(caller, path, token=server.create_token("other-organisation")))
        assert connection.receive().status == 403


def test_an_error_without_effect_is_not_remembered(server: ServerProcess, caller: Caller) -> None:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    for _ in range(3):
        send_and_leave(server, encode_request(caller, path, b'{"newMessages": 5}'))
    assert REPLAYED not in caller.update_raw(session_id, b'{"newMessages": 5}').headers
    assert contents(caller, session_id) == []


def test_a_client_that_closes_its_sending_side_and_reads_on_gets_its_response(
    server: ServerProcess, caller: Caller
) -> None:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    for number in range(1, 4):
        with RawConnection(server.port, seconds=60) as connection:
            connection.send(encode_request(caller, path))
            connection.end()
            response = connection.receive()
            assert (response.json["totalMessages"], REPLAYED in response.headers) == (number, False)


def test_equal_pipelined_requests_are_all_applied(server: ServerProcess, caller: Caller) -> None:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    with RawConnection(server.port, seconds=60) as connection:
        connection.send(encode_request(caller, path) * 20)
        assert [connection.receive().json["totalMessages"] for _ in range(20)] == list(range(1, 21))
    assert REPLAYED not in caller.update_raw(session_id, HELLO).headers


def test_equal_requests_that_wait_at_the_same_time_are_both_applied(server: ServerProcess, caller: Caller) -> None:
    session_id = caller.new_session()
    request = encode_request(caller, f"{caller.sessions}/{session_id}")
    with RawConnection(server.port, seconds=60) as one, RawConnection(server.port, seconds=60) as other:
        with write_lock(server.database):
            one.send(request)
            other.send(request)
        assert sorted(connection.receive().json["totalMessages"] for connection in (one, other)) == [1, 2]


def test_several_equal_lost_responses_are_each_given_once(server: ServerProcess, caller: Caller) -> None:
    session_id = caller.new_session()
    request = encode_request(caller, f"{caller.sessions}/{session_id}")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(RawConnection(server.port, seconds=60)) for _ in range(3)]
        with write_lock(server.database):
            for connection in connections:
                connection.send(request)
            # All are in progress before the first is lost: none is a repetition.
            responses = ThreadPoolExecutor(1).submit(_ask_for_life, server)
            responses.result(60)
            stack.close()
    poll(lambda: len(contents(caller, session_id)) == 3, "three effects", seconds=60)
    given = [caller.update_raw(session_id, HELLO) for _ in range(4)]
    assert [REPLAYED in response.headers for response in given] == [True, True, True, False]
    assert sorted(response.json["totalMessages"] for response in given) == [1, 2, 3, 4]


def _ask_for_life(server: ServerProcess) -> Response:
    # When this gets its response, everything sent before on other connections has been read.
    with RawConnection(server.port, seconds=60) as connection:
        connection.send(head("GET", "/health/live"))
        connection.receive()
        connection.send(head("GET", "/health/live"))
        return connection.receive()


def test_a_client_that_closes_after_each_response_is_applied_each_time(server: ServerProcess, caller: Caller) -> None:
    session_id = caller.new_session()
    request = encode_request(caller, f"{caller.sessions}/{session_id}", Connection="close")
    for number in range(1, 30):
        with RawConnection(server.port, seconds=60) as connection:
            connection.send(request)
            assert connection.receive().json["totalMessages"] == number


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_response_still_in_the_kernels_buffer_has_not_arrived(tmp_path: Path, scheme: str) -> None:
    speaks_tls = scheme == "https"
    certificate, key = self_signed(tmp_path)
    words = ["--no-first-token"]
    words += ["--tls-certificate", str(certificate), "--tls-key", str(key)] if speaks_tls else []
    server = ServerProcess(f"sqlite:///{tmp_path}/store.db", *words, directory=tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        server.start(wait=False)
        token = server.create_token("acme")
        sessions = "/api/v3/organizations/acme/ai/sessions"

        def connect() -> socket.socket:
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(60)
            try:
                connection.connect(("127.0.0.1", server.port))
            except OSError:
                connection.close()
                raise
            return context.wrap_socket(connection, server_hostname="127.0.0.1") if speaks_tls else connection

        def ask(method: str, path: str, body: bytes = b"") -> bytes:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Connection": "close"}
            with connect() as connection:
                connection.sendall(head(method, path, {**headers, "Content-Length": str(len(body))}) + body)
                return b"".join(iter(lambda: connection.recv(65_536), b""))

        poll(_succeeds(lambda: ask("GET", "/health/ready")), "a server that responses", seconds=60)
        created = ask("POST", sessions, b'{"userId": "ada"}')
        path = f"{sessions}/{created.partition(b'sessionId')[2][3:39].decode()}"
        bearing = {"Authorization": f"Bearer {token}", "Content-Length": str(len(HELLO))}
        with connect() as connection:
            # The first response is not read, so the second one cannot be sent.
            connection.sendall(head("GET", "/openapi.json") + head("PUT", path, bearing) + HELLO)
            poll(lambda: b'"total_messages":1' in ask("GET", path), "an effect", seconds=60)
        again = ask("PUT", path, HELLO)
        assert b"\r\nidempotent-replayed: true\r\n" in again
        assert b'"totalMessages":1' in again
        assert b'"totalMessages":2' in ask("PUT", path, HELLO)


def _succeeds(work: Callable[[], bytes]) -> Callable[[], bool]:
    def does() -> bool:
        with contextlib.suppress(OSError):
            return work().startswith(b"HTTP/1.1 200")
        return False

    return does
