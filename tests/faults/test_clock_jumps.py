"""The system clock jumps back and forth by an hour, under load: expired sessions stay expired, others stay alive."""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.api_client import ApiClient, Response, user_messages
from tests.e2e.database import count_rows
from tests.faults.soak import log_figures, soak_scaled
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

pytestmark = pytest.mark.usefixtures("needs_faketime")

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WRITES_A_STEP = 30


@pytest.fixture(params=["sqlite", "postgres-18"])
def server(request: pytest.FixtureRequest, tmp_path: Path, postgres_18: PostgresServer) -> Iterator[ServerProcess]:
    with contextlib.ExitStack() as stack:
        sqlite = request.param == "sqlite"
        url = f"sqlite:///{tmp_path}/store.db" if sqlite else stack.enter_context(postgres_18.database())
        yield stack.enter_context(ServerProcess(url, "--sweep-seconds", "0.3", movable_clock=True))


@pytest.fixture
def token(server: ServerProcess) -> str:
    return server.create_token("demo")


class SequenceWriter:
    """Creates sessions and appends to one, without a pause, and records every response."""

    def __init__(self, server: ServerProcess, token: str) -> None:
        self.created: list[dict[str, Any]] = []
        self.updated: list[str] = []
        self.refused: list[Response] = []
        self._api = ApiClient(server.base_url, token)
        self._session = self._api.create(expirationMinutes=1440)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)
        self._api.close()

    def wait_for_more(self) -> None:
        """Wait for some more acknowledged writes."""
        wanted = len(self.updated) + WRITES_A_STEP
        poll(lambda: self.refused or len(self.updated) >= wanted, "more writes", seconds=30)

    def listed(self) -> list[str]:
        """Return all sessions created here, in the order of the list."""
        with_offsets = (f"{self._api.path}?userId=w&limit=100&offset={first}" for first in range(0, 100_000, 100))
        pages = iter(lambda: self._api.call("GET", next(with_offsets)).expect(200).json, [])
        return [item["id"] for page in pages for item in page]

    def _run(self) -> None:
        while not self._stopped.is_set() and not self.refused:
            created = self._api.call("POST", self._api.path, {"userId": "w", "expirationMinutes": 1440})
            updated = self._api.append(self._session, f"{len(self.updated)}")
            self.refused += [response for response in (created, updated) if response.status not in {200, 201}]
            if not self.refused:
                self.created.append(created.json)
                self.updated.append(updated.json["updatedAt"])


def test_a_clock_that_jumps_revives_no_expired_session_and_expires_none_early(
    server: ServerProcess, token: str
) -> None:
    clock = server.clock
    assert clock is not None
    expired: list[str] = []
    with ApiClient(server.base_url, token) as api, SequenceWriter(server, token) as writer:

        def move(seconds: float) -> None:
            """Move the clock under load, and check that expired sessions stay expired."""
            writer.wait_for_more()
            clock.move(seconds)
            writer.wait_for_more()
            assert visible(api, expired) == []

        for _ in range(soak_scaled(1, 5)):
            five, hour, two_hours = (api.create(expirationMinutes=minutes) for minutes in (5, 60, 120))
            move(6 * MINUTE)
            assert visible(api, [five, hour, two_hours]) == [hour, two_hours]
            expired.append(five)
            move(-HOUR)
            assert visible(api, [hour, two_hours]) == [hour, two_hours]
            created_later = api.create(expirationMinutes=60)  # the server's clock has not gone back
            move(+HOUR)
            assert visible(api, [hour, two_hours, created_later]) == [hour, two_hours, created_later]
            move(+HOUR)
            assert visible(api, [hour, two_hours, created_later]) == [two_hours], (
                "exactly the sessions that have expired"
            )
            expired += [hour, created_later]
        assert_order(writer)
        writer.__exit__()
        ids = [created["sessionId"] for created in writer.created]
        assert writer.listed() == ids[::-1], "the list is in order of creation, newest first"
    log_figures(
        writes=2 * len(writer.updated), jumps=4 * soak_scaled(1, 5), errors=0, **{"seen expired and came back": 0}
    )


def visible(api: ApiClient, sessions: Iterable[str]) -> list[str]:
    """Return which of these sessions can be read, and check that the list has the same ones."""
    read = [name for name in sessions if api.call("GET", f"{api.path}/{name}").status == 200]
    listed = {item["id"] for item in api.call("GET", f"{api.path}?userId=ada&limit=100").expect(200).json}
    assert [name for name in sessions if name in listed] == read
    return read


def assert_order(writer: SequenceWriter) -> None:
    """Check that timestamps and ids never decrease, and that nothing was refused."""
    assert writer.refused == []
    for times in (
        writer.updated,
        [created["createdAt"] for created in writer.created],
        [created["expiresAt"] for created in writer.created],
        [created["sessionId"] for created in writer.created],
    ):
        assert times == sorted(times)


def test_an_idempotency_key_is_replayed_for_a_day_also_after_its_session_expired(
    server: ServerProcess, token: str
) -> None:
    clock = server.clock
    assert clock is not None
    with ApiClient(server.base_url, token) as api:
        body = {"userId": "ada", "expirationMinutes": 5, "initialMessages": user_messages("hello")}
        first = keyed(api, "POST", api.path, body).expect(201)
        session = f"{api.path}/{first.json['sessionId']}"
        updated = keyed(api, "PUT", session, {"tokensUsed": 1}).expect(200)
        clock.move(6 * MINUTE)
        api.call("GET", session).expect(404)
        poll(lambda: count_rows(server.database, "sessions") == 0, "a session that is swept")
        for method, path, question, response in (
            ("POST", api.path, body, first),
            ("PUT", session, {"tokensUsed": 1}, updated),
        ):
            again = keyed(api, method, path, question)
            assert (again.status, again.body) == (response.status, response.body)
            assert again.headers["Idempotent-Replayed"] == "true"
        assert count_rows(server.database, "keys") == 2

        clock.move(DAY)
        poll(lambda: count_rows(server.database, "keys") == 0, "keys that are swept")
        anew = keyed(api, "POST", api.path, body).expect(201)
        assert anew.headers["Idempotent-Replayed"] is None
        assert anew.json["sessionId"] != first.json["sessionId"]


def keyed(api: ApiClient, method: str, path: str, body: object) -> Response:
    return api.call(method, path, body, {"Idempotency-Key": '"the same"'})
