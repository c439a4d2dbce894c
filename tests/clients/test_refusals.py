"""QuantCDN's own Python client when the server refuses a request: it must not repeat a change that may have been made."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.database import write_lock
from tests.harness.postgres import PostgresServer
from tests.harness.relay import Relay
from tests.harness.server import ServerProcess

quantcdn: Any = importlib.import_module("quantcdn")

ORGANISATION = "acme"


@pytest.fixture(params=["sqlite", "postgres-18"])
def impatient(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose database soon takes too long."""
    words = ("--no-first-token", "--store-seconds", "1")
    if request.param == "sqlite":
        with ServerProcess(f"sqlite:///{tmp_path}/store.db", *words, directory=tmp_path) as server:
            yield server
        return
    postgres = request.getfixturevalue("postgres_18")
    assert isinstance(postgres, PostgresServer)
    with postgres.database() as url, ServerProcess(url, *words, directory=tmp_path) as server:
        yield server


def connected(base_url: str, token: str) -> Any:
    return quantcdn.AISessionsApi(quantcdn.ApiClient(quantcdn.Configuration(host=base_url, access_token=token)))


def spoken(text: str) -> Any:
    message = quantcdn.UpdateAISessionRequestNewMessagesInner(role="user", content=text)
    return quantcdn.UpdateAISessionRequest(new_messages=[message])


def begin(api: Any) -> str:
    return str(api.create_ai_session(ORGANISATION, quantcdn.CreateAISessionRequest(user_id="ada")).session_id)


def test_a_change_of_unknown_outcome_is_sent_once(impatient: ServerProcess) -> None:
    with Relay(impatient.port) as relay:
        api = connected(relay.base_url, impatient.create_token(ORGANISATION))
        session_id = begin(api)
        changes: list[Callable[[], Any]] = [
            lambda: api.update_ai_session(ORGANISATION, session_id, spoken("Hello")),
            lambda: api.extend_ai_session(ORGANISATION, session_id),
            lambda: api.delete_ai_session(ORGANISATION, session_id),
            lambda: begin(api),
        ]
        relay.passed.clear()
        with write_lock(impatient.database):
            for change in changes:
                with pytest.raises(quantcdn.exceptions.ServiceException) as refused:
                    change()
                assert refused.value.status == 503
                assert '"code":"STORE_UNAVAILABLE"' in refused.value.body
                assert "retry-after" not in {name.lower() for name in refused.value.headers}
        assert len(relay.passed) == len(changes)


def test_a_used_up_quota_is_an_error_at_once_and_shown_first(tmp_path: Path) -> None:
    words = ("--no-first-token", "--organisation-stored-bytes", "1000")
    with (
        ServerProcess(f"sqlite:///{tmp_path}/store.db", *words, directory=tmp_path) as server,
        Relay(server.port) as relay,
    ):
        api = connected(relay.base_url, server.create_token(ORGANISATION))
        session_id = begin(api)
        relay.passed.clear()
        with pytest.raises(quantcdn.exceptions.ApiException) as refused:
            api.update_ai_session(ORGANISATION, session_id, spoken("x" * 1000))
        assert refused.value.status == 429
        assert len(relay.passed) == 1
        assert refused.value.body[:120].startswith('{"detail":"The organisation may have at most any number of live')
