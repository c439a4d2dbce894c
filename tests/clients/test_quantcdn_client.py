"""QuantCDN's own Python client, as PyPI has it, with nothing replaced but the base URL and the token."""

import contextlib
import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.harness.server import ServerProcess
from tests.http.callers import Caller, unknown_id

# Typed as anything: its own types hold every member of an answer for optional and know fields by one of two names.
quantcdn: Any = importlib.import_module("quantcdn")


@pytest.fixture
def api(server: ServerProcess, token: str) -> Iterator[Any]:
    """The client, with a token that is good for any organisation."""
    with connected(server, token) as api:
        yield api


@contextlib.contextmanager
def connected(server: ServerProcess, token: str) -> Iterator[Any]:
    """Connect a client."""
    with quantcdn.ApiClient(quantcdn.Configuration(host=server.base_url, access_token=token)) as client:
        yield quantcdn.AISessionsApi(client)
        client.rest_client.pool_manager.clear()


def initial(role: str, content: str) -> Any:
    return quantcdn.CreateAISessionRequestInitialMessagesInner(role=role, content=content)


def new(role: str, content: str) -> Any:
    return quantcdn.UpdateAISessionRequestNewMessagesInner(role=role, content=content)


def said(session: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in session.messages]


def test_the_official_python_client_performs_the_six_operations(server: ServerProcess, organisation: str) -> None:
    token = server.create_token(organisation)
    with connected(server, token) as api, Caller(server.port, token, organisation) as caller:
        perform_the_six_operations(api, organisation, caller)


def perform_the_six_operations(api: Any, organisation: str, caller: Caller) -> None:
    before = datetime.now(UTC).replace(microsecond=0)

    created = api.create_ai_session(
        organisation,
        quantcdn.CreateAISessionRequest(
            user_id="user-12345",
            session_group="support",
            metadata={"channel": "web", "nested": {"deep": [1, 2.5, None, True]}},
            expiration_minutes=30,
            initial_messages=[initial("system", "Be kind."), initial("user", "Hello, is it me? 💬")],
        ),
    )
    session_id = created.session_id
    assert created.status == "active"
    assert before <= created.created_at <= datetime.now(UTC)
    assert created.expires_at - created.created_at == timedelta(minutes=30)

    got = api.get_ai_session(organisation, session_id)
    assert (got.id, got.title, got.model) == (session_id, "Hello, is it me? 💬", None)
    assert said(got) == [("system", "Be kind."), ("user", "Hello, is it me? 💬")]
    assert got.created_at == created.created_at

    (listed,) = api.list_ai_sessions(organisation)
    assert (listed.id, listed.title, listed.model) == (session_id, "Hello, is it me? 💬", None)
    assert listed.created_at == listed.updated_at == created.created_at

    updated = api.update_ai_session(
        organisation,
        session_id,
        quantcdn.UpdateAISessionRequest(
            new_messages=[new("assistant", "It is."), new("user", "Good.")],
            tokens_used=120,
            metadata={"channel": None, "model": "a-model"},
        ),
    )
    assert (updated.session_id, updated.status) == (session_id, "active")
    assert (updated.total_messages, updated.total_tokens) == (4, 120)
    assert type(updated.total_messages) is type(updated.total_tokens) is int
    assert updated.updated_at >= created.created_at

    got = api.get_ai_session(organisation, session_id)
    assert [content for _, content in said(got)] == ["Be kind.", "Hello, is it me? 💬", "It is.", "Good."]
    assert got.model == "a-model"
    assert caller.read(session_id)["metadata"] == {"nested": {"deep": [1, 2.5, None, True]}, "model": "a-model"}

    extended = api.extend_ai_session(organisation, session_id)
    assert extended.session_id == session_id
    assert extended.expires_at == created.expires_at + timedelta(minutes=60)
    assert extended.message == "Session extended by 60 minutes"

    again = api.extend_ai_session(organisation, session_id, quantcdn.ExtendAISessionRequest(additional_minutes=15))
    assert again.expires_at == created.expires_at + timedelta(minutes=75)
    assert again.message == "Session extended by 15 minutes"

    completed = api.update_ai_session(
        organisation, session_id, quantcdn.UpdateAISessionRequest(status="completed", tokens_used=30)
    )
    assert (completed.status, completed.total_messages, completed.total_tokens) == ("completed", 4, 150)
    (listed,) = api.list_ai_sessions(organisation)
    assert (listed.id, listed.updated_at) == (session_id, completed.updated_at)

    assert api.delete_ai_session(organisation, session_id).message == "Session deleted successfully"
    assert api.list_ai_sessions(organisation) == []
    with pytest.raises(quantcdn.exceptions.NotFoundException):
        api.get_ai_session(organisation, session_id)


def test_a_session_expires_after_an_hour_by_default(api: Any, organisation: str) -> None:
    created = api.create_ai_session(organisation, quantcdn.CreateAISessionRequest(user_id="user"))
    assert created.expires_at - created.created_at == timedelta(minutes=60)
    assert api.get_ai_session(organisation, created.session_id).messages == []


def test_list_filters_and_pages_newest_first(api: Any, organisation: str) -> None:
    ids = []
    for number in range(6):
        created = api.create_ai_session(
            organisation,
            quantcdn.CreateAISessionRequest(
                user_id=f"user-{number % 2}",
                session_group="group" if number < 4 else None,
                metadata={"model": "m" if number < 2 else "n"},
            ),
        )
        ids.append(created.session_id)
    newest = ids[::-1]

    def listed(**filters: Any) -> list[str]:
        return [session.id for session in api.list_ai_sessions(organisation, **filters)]

    assert listed() == newest
    assert listed(limit=4) == newest[:4]
    assert listed(limit=4, offset=4) == newest[4:]
    assert listed(offset=6) == []
    assert listed(user_id="user-1") == [ids[5], ids[3], ids[1]]
    assert listed(session_group="group") == [ids[3], ids[2], ids[1], ids[0]]
    assert listed(model="m") == [ids[1], ids[0]]
    assert listed(user_id="user-0", session_group="group", model="n", limit=1) == [ids[2]]


def test_appends_stay_in_order_and_totals_add_up(api: Any, organisation: str) -> None:
    created = api.create_ai_session(organisation, quantcdn.CreateAISessionRequest(user_id="user"))
    for turn in range(10):
        updated = api.update_ai_session(
            organisation,
            created.session_id,
            quantcdn.UpdateAISessionRequest(
                new_messages=[new("user", f"{turn}?"), new("assistant", f"{turn}!")], tokens_used=7
            ),
        )
        assert (updated.total_messages, updated.total_tokens) == (2 * turn + 2, 7 * turn + 7)
    got = api.get_ai_session(organisation, created.session_id)
    assert [content for _, content in said(got)] == [f"{turn}{mark}" for turn in range(10) for mark in "?!"]


def test_every_response_has_the_status_and_type_that_the_client_needs(api: Any, organisation: str) -> None:
    created = api.create_ai_session_with_http_info(organisation, quantcdn.CreateAISessionRequest(user_id="user"))
    session_id = created.data.session_id
    answers = [
        api.list_ai_sessions_with_http_info(organisation),
        api.get_ai_session_with_http_info(organisation, session_id),
        api.update_ai_session_with_http_info(organisation, session_id, quantcdn.UpdateAISessionRequest()),
        api.extend_ai_session_with_http_info(organisation, session_id),
        api.delete_ai_session_with_http_info(organisation, session_id),
    ]
    assert [created.status_code, *(answer.status_code for answer in answers)] == [201, 200, 200, 200, 200, 200]
    types = [{name.lower(): value for name, value in answer.headers.items()}["content-type"] for answer in answers]
    assert types == ["application/json"] * 5
    assert all(answer.data is not None for answer in answers)


def test_an_update_of_nothing_changes_nothing(api: Any, organisation: str) -> None:
    created = api.create_ai_session(organisation, quantcdn.CreateAISessionRequest(user_id="user"))
    updated = api.update_ai_session(organisation, created.session_id, quantcdn.UpdateAISessionRequest())
    assert updated.updated_at == created.created_at
    assert (updated.status, updated.total_messages, updated.total_tokens) == ("active", 0, 0)


@pytest.mark.parametrize("session_id", ["a/extend", "a b", "ä?x=1#y", "..", "%2F", "session-1", "'\"<>"])
def test_an_id_with_special_characters_is_not_found(api: Any, organisation: str, session_id: str) -> None:
    with pytest.raises(quantcdn.exceptions.NotFoundException):
        api.get_ai_session(organisation, session_id)
    with pytest.raises(quantcdn.exceptions.NotFoundException):
        api.update_ai_session(organisation, session_id, quantcdn.UpdateAISessionRequest(tokens_used=1))
    with pytest.raises(quantcdn.exceptions.NotFoundException):
        api.extend_ai_session(organisation, session_id)
    with pytest.raises(quantcdn.exceptions.NotFoundException):
        api.delete_ai_session(organisation, session_id)


def test_failures_are_the_clients_exceptions(server: ServerProcess, api: Any, organisation: str) -> None:
    with pytest.raises(quantcdn.exceptions.NotFoundException) as missing:
        api.delete_ai_session(organisation, unknown_id())
    assert '"code":"SESSION_NOT_FOUND"' in missing.value.body
    with pytest.raises(quantcdn.exceptions.BadRequestException):
        api.list_ai_sessions(organisation, user_id="")
    with (
        connected(server, server.create_token("somebody-else")) as other_tenant,
        pytest.raises(quantcdn.exceptions.ForbiddenException),
    ):
        other_tenant.list_ai_sessions(organisation)
    with connected(server, "nobody") as nobody, pytest.raises(quantcdn.exceptions.UnauthorizedException):
        nobody.list_ai_sessions(organisation)


@pytest.mark.parametrize("ending", ["/", "//"])
def test_the_official_python_client_may_have_a_base_url_that_ends_in_a_slash(
    server: ServerProcess, token: str, organisation: str, ending: str
) -> None:
    configuration = quantcdn.Configuration(host=f"{server.base_url}{ending}", access_token=token)
    with quantcdn.ApiClient(configuration) as client, Caller(server.port, token, organisation) as caller:
        perform_the_six_operations(quantcdn.AISessionsApi(client), organisation, caller)
        client.rest_client.pool_manager.clear()
