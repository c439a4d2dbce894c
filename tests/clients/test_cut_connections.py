"""QuantCDN's own Python client through a relay that cuts connections: by itself it repeats PUT and DELETE, without a key."""

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from tests.e2e.database import write_lock
from tests.harness.certificates import self_signed
from tests.harness.postgres import PostgresServer
from tests.harness.relay import Cut, Relay
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

quantcdn: Any = importlib.import_module("quantcdn")

ORGANISATION = "acme"
PATIENT = ("--no-first-token", "--store-seconds", "120")
REPLAYED = b"\r\nidempotent-replayed: true\r\n"
CUTS: list[Cut] = ["before", "under way", "reset", "unread"]


class Place(Struct):
    """A server, and what a client needs to come to it."""

    server: ServerProcess
    token: str
    certificate: Path | None = None
    key: Path | None = None

    def client(self, base_url: str, **settings: Any) -> Any:
        """Make an official client that comes to this address."""
        configuration = quantcdn.Configuration(
            host=base_url,
            access_token=self.token,
            ssl_ca_cert=str(self.certificate) if self.certificate else None,
            **settings,
        )
        return quantcdn.AISessionsApi(quantcdn.ApiClient(configuration))

    @property
    def address(self) -> str:
        """Where the server is reached without a relay."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.server.port}"


@pytest.fixture(scope="module", params=["sqlite", "sqlite-tls", "postgres-18", "postgres-18-tls"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server on each store, over plain HTTP and over TLS."""
    engine, _, tls = request.param.partition("-tls") if request.param.endswith("-tls") else (request.param, "", None)
    directory = tmp_path_factory.mktemp("cuts")
    certificate = key = None
    words = list(PATIENT)
    if tls is not None:
        certificate, key = self_signed(directory)
        words += ["--tls-certificate", str(certificate), "--tls-key", str(key)]
    with contextlib.ExitStack() as stack:
        if engine == "sqlite":
            database = f"sqlite:///{directory}/store.db"
        else:
            postgres = request.getfixturevalue("postgres_18")
            assert isinstance(postgres, PostgresServer)
            database = stack.enter_context(postgres.database())
        server = ServerProcess(database, *words, directory=directory)
        stack.callback(server.close)
        server.start(wait=tls is None)
        place = Place(server, server.create_token(all_organisations=True), certificate, key)
        poll(lambda: _answers(place), "a server that answers", seconds=60)
        yield place


def _answers(place: Place) -> bool:
    with contextlib.suppress(Exception):
        place.client(place.address, retries=False).list_ai_sessions(ORGANISATION)
        return True
    return False


@pytest.fixture
def relay(place: Place) -> Iterator[Relay]:
    with Relay(place.server.port, place.certificate, place.key) as relay:
        yield relay


@pytest.fixture
def direct(place: Place) -> Any:
    return place.client(place.address)


@pytest.fixture
def client(place: Place, relay: Relay) -> Iterator[Any]:
    """The client as it is made by default, with a connection that is open."""
    client = place.client(relay.base_url)
    client.list_ai_sessions(ORGANISATION, user_id="nobody")
    relay.passed.clear()
    relay.responses.clear()
    yield client
    client.api_client.rest_client.pool_manager.clear()


def begin(api: Any, user: str = "ada") -> Any:
    return api.create_ai_session(ORGANISATION, quantcdn.CreateAISessionRequest(user_id=user))


def spoken(text: str) -> Any:
    message = quantcdn.UpdateAISessionRequestNewMessagesInner(role="user", content=text)
    return quantcdn.UpdateAISessionRequest(new_messages=[message], tokens_used=5)


def contents(api: Any, session_id: str) -> list[str]:
    return [message["content"] for message in api.get_ai_session(ORGANISATION, session_id).messages]


def expiry(session: Any) -> datetime:
    assert isinstance(session.expires_at, datetime)
    return session.expires_at


class Cutter:
    """Lets a client's call be cut in one way, while the store holds it up where that is needed."""

    def __init__(self, place: Place, relay: Relay, cut: Cut) -> None:
        self._place = place
        self._relay = relay
        self._cut: Cut = cut

    def call(self, work: Callable[[], Any], was_applied: Callable[[], bool], passed: int = 2) -> Any:
        """Run a call that is cut once; ``passed`` is how often its request comes through."""
        self._relay.plan = [self._cut]
        if self._cut == "before":
            return work()
        with ThreadPoolExecutor(1) as pool:
            future: Future[Any]
            if self._cut == "unread":
                future = pool.submit(work)
                poll(was_applied, "an effect", seconds=60)
                self._relay.cut.set()
                return future.result(60)
            with write_lock(self._place.server.database):
                future = pool.submit(work)
                poll(lambda: len(self._relay.passed) >= passed or future.done(), "a repeat", seconds=60)
            return future.result(60)


@pytest.mark.parametrize("cut", CUTS)
def test_an_update_that_is_cut_appends_once(place: Place, relay: Relay, client: Any, direct: Any, cut: Cut) -> None:
    session_id = begin(direct).session_id
    updated = Cutter(place, relay, cut).call(
        lambda: client.update_ai_session(ORGANISATION, session_id, spoken("Hello")),
        lambda: contents(direct, session_id) == ["Hello"],
    )
    assert (updated.session_id, updated.total_messages, updated.total_tokens) == (session_id, 1, 5)
    assert contents(direct, session_id) == ["Hello"]
    assert [REPLAYED in answer for answer in relay.responses] == [cut != "before"]
    # What arrived is forgotten: the same said again is another message.
    again = client.update_ai_session(ORGANISATION, session_id, spoken("Hello"))
    assert (again.total_messages, again.total_tokens) == (2, 10)
    assert contents(direct, session_id) == ["Hello", "Hello"]


@pytest.mark.parametrize("cut", CUTS)
def test_an_extension_that_is_cut_adds_its_minutes_once(
    place: Place, relay: Relay, client: Any, direct: Any, cut: Cut
) -> None:
    begun = begin(direct)
    version = direct.get_ai_session_with_http_info(ORGANISATION, begun.session_id).headers["etag"]

    def version_now() -> str:
        return str(direct.get_ai_session_with_http_info(ORGANISATION, begun.session_id).headers["etag"])

    extended = Cutter(place, relay, cut).call(
        lambda: client.extend_ai_session(ORGANISATION, begun.session_id), lambda: version_now() != version
    )
    assert expiry(extended) == expiry(begun) + timedelta(minutes=60)
    again = client.extend_ai_session(ORGANISATION, begun.session_id)
    assert expiry(again) == expiry(begun) + timedelta(minutes=120)


@pytest.mark.parametrize("cut", CUTS)
def test_a_deletion_that_is_cut_gets_its_response(
    place: Place, relay: Relay, client: Any, direct: Any, cut: Cut
) -> None:
    session_id = begin(direct).session_id

    def is_gone() -> bool:
        return session_id not in [session.id for session in direct.list_ai_sessions(ORGANISATION)]

    deleted = Cutter(place, relay, cut).call(lambda: client.delete_ai_session(ORGANISATION, session_id), is_gone)
    assert deleted.message == "Session deleted successfully"
    with pytest.raises(quantcdn.exceptions.NotFoundException):
        client.delete_ai_session(ORGANISATION, session_id)


@pytest.mark.parametrize("cut", CUTS)
def test_a_creation_that_is_cut_and_retried_creates_one_session(
    place: Place, relay: Relay, client: Any, direct: Any, cut: Cut
) -> None:
    user = f"user {threading.get_ident()} {relay.base_url} {cut}"

    def begun() -> list[str]:
        return [session.id for session in direct.list_ai_sessions(ORGANISATION, user_id=user)]

    with pytest.raises(Exception, match=r"(?i)connection|closed|reset|EOF"):
        Cutter(place, relay, cut).call(lambda: begin(client, user), lambda: bool(begun()), passed=1)
    created = begin(client, user)
    assert begun() == [created.session_id]
    assert begin(client, user).session_id != created.session_id


@pytest.mark.parametrize("cut", ["under way", "reset"])
def test_an_update_that_is_cut_twice_appends_once(
    place: Place, relay: Relay, client: Any, direct: Any, cut: Cut
) -> None:
    session_id = begin(direct).session_id
    relay.plan = [cut, cut]
    with ThreadPoolExecutor(1) as pool, write_lock(place.server.database):
        future = pool.submit(client.update_ai_session, ORGANISATION, session_id, spoken("Hello"))
        poll(lambda: len(relay.passed) == 3, "a repeat of the repeat", seconds=60)
    assert future.result(60).total_messages == 1
    assert contents(direct, session_id) == ["Hello"]


def test_equal_concurrent_updates_whose_responses_arrive_are_all_applied(place: Place, direct: Any) -> None:
    session_id = begin(direct).session_id
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(_say, place, session_id) for _ in range(8)]
        totals = sorted(total for each in work for total in each.result(60))
    assert totals == list(range(1, 41))
    assert contents(direct, session_id) == ["Hello"] * 40


@pytest.mark.parametrize("cut", ["under way", "reset", "unread"])
def test_two_equal_updates_that_are_both_cut_are_two(
    place: Place, relay: Relay, client: Any, direct: Any, cut: Cut
) -> None:
    session_id = begin(direct).session_id
    Cutter(place, relay, cut).call(
        lambda: client.update_ai_session(ORGANISATION, session_id, spoken("Hello")),
        lambda: contents(direct, session_id) == ["Hello"],
    )
    relay.cut.clear()
    Cutter(place, relay, cut).call(
        lambda: client.update_ai_session(ORGANISATION, session_id, spoken("Hello")),
        lambda: contents(direct, session_id) == ["Hello", "Hello"],
        passed=4,
    )
    assert contents(direct, session_id) == ["Hello", "Hello"]


def _say(place: Place, session_id: str) -> list[int]:
    totals = []
    for number in range(5):
        # A client of its own each time: its connection is closed after its answer, by either side.
        api = place.client(place.address, retries=False)
        if number % 2:
            api.api_client.set_default_header("Connection", "close")
        totals.append(api.update_ai_session(ORGANISATION, session_id, spoken("Hello")).total_messages)
        api.api_client.rest_client.pool_manager.clear()
    return totals


def test_with_a_key_a_response_lost_by_a_relay_causes_no_second_effect(place: Place, relay: Relay, direct: Any) -> None:
    client = place.client(relay.base_url)
    session_id = begin(direct).session_id
    relay.plan = ["swallowed"]
    updated = client.update_ai_session(
        ORGANISATION, session_id, spoken("Hello"), _headers={"Idempotency-Key": f"hello-{session_id}"}
    )
    assert (updated.total_messages, len(relay.passed)) == (1, 2)
    assert contents(direct, session_id) == ["Hello"]


@pytest.mark.parametrize("cut", ["swallowed", "inside"])
def test_without_retries_a_response_lost_by_a_relay_is_an_error(
    place: Place, relay: Relay, direct: Any, cut: Cut
) -> None:
    client = place.client(relay.base_url, retries=False)
    session_id = begin(direct).session_id
    relay.plan = [cut]
    with pytest.raises(Exception, match=r"(?i)connection|closed|reset|EOF|UpdateAISession200Response"):
        client.update_ai_session(ORGANISATION, session_id, spoken("Hello"))
    assert len(relay.passed) == 1
    assert contents(direct, session_id) == ["Hello"]
