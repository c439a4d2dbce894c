"""with_options, idempotency keys, preconditions, pages and the types of results."""

import logging
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx2
import pytest

import sessionary
from sessionary import (
    Client,
    ClientClosedError,
    ClientUsageError,
    ConfigurationError,
    IdempotencyKeyReusedError,
    InvalidArgumentError,
    NotModifiedError,
    PreconditionFailedError,
    SessionaryError,
    models,
)
from sessionary.client import results
from tests.client.mock_servers import Respond, always, client_of


def _recorded(content: Any, **headers: str) -> tuple[Respond, list[httpx2.Request]]:
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=content, headers=headers)

    return respond, requests


def test_with_options_changes_a_copy_that_shares_the_connections(flavour: str) -> None:
    respond, requests = _recorded([])
    with client_of(flavour, respond, headers={"X-A": "1", "X-B": "1"}, timeout=30) as client:
        other = client.with_options(timeout=5, headers={"X-B": "2"}, token="other", organisation="elsewhere")
        other.list_sessions()
        client.list_sessions()
    first, second = requests
    assert (first.headers["X-A"], first.headers["X-B"], second.headers["X-B"]) == ("1", "2", "1")
    assert (first.headers["Authorization"], second.headers["Authorization"]) == ("Bearer other", "Bearer secret")
    assert ("/elsewhere/" in str(first.url), "/acme/" in str(second.url)) == (True, True)
    assert (first.extensions["timeout"]["read"], second.extensions["timeout"]["read"]) == (5, 30)


def test_with_options_shares_what_was_learned_and_is_closed_with_its_client(flavour: str) -> None:
    with client_of(flavour, always(503)) as client:
        other = client.with_options(max_retries=0)
        with pytest.raises(SessionaryError):
            other.list_sessions()
        client.close()
        with pytest.raises(ClientClosedError):
            other.list_sessions()


def test_with_options_on_the_raw_methods_uses_the_copy(flavour: str) -> None:
    respond, requests = _recorded([])
    with client_of(flavour, respond) as client:
        client.with_raw_response.list_sessions()
        client.with_options(headers={"X-A": "1"}).with_raw_response.list_sessions()
    assert ["X-A" in request.headers for request in requests] == [False, True]


@pytest.mark.parametrize("options", [{"timeout": 0}, {"max_retries": -1}, {"headers": {"a b": "c"}}, {"token": "a b"}])
def test_with_options_refuses_what_the_constructor_refuses(options: Any) -> None:
    client = Client("http://a.test", organisation="acme")
    with pytest.raises(ConfigurationError):
        client.with_options(**options)
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        client.with_options(timout=3)  # type: ignore[call-arg]


def test_a_missing_setting_is_a_configuration_error_that_names_its_variable() -> None:
    with pytest.raises(ConfigurationError, match="SESSIONARY_URL"):
        Client("")
    with Client("http://a.test", transport=httpx2.MockTransport(always(200))) as client:
        with pytest.raises(ConfigurationError, match="SESSIONARY_ORGANISATION") as raised:
            client.list_sessions()
        with pytest.raises(ValueError, match="empty"):
            client.get_session("", organisation="acme")
    assert (raised.value.status, raised.value.response) == (0, None)


def test_an_idempotency_key_is_sent_quoted_and_an_entity_tag_as_it_is(flavour: str) -> None:
    respond, requests = _recorded({"sessionId": "s", "id": "s"})
    with client_of(flavour, respond) as client:
        client.create_session("u", idempotency_key='a "b" \\')
        client.update_session("s", idempotency_key="k", if_match='"3"')
        client.extend_session("s", idempotency_key="k", if_match='"3"')
        client.delete_session("s", idempotency_key="k", if_match='"3"')
        client.get_session("s", if_none_match='"3"', headers={"If-None-Match": '"4"'})
    assert requests[0].headers["Idempotency-Key"] == '"a \\"b\\" \\\\"'
    assert [request.headers["Idempotency-Key"] for request in requests[1:4]] == ['"k"'] * 3
    assert [request.headers["If-Match"] for request in requests[1:4]] == ['"3"'] * 3
    assert requests[4].headers["If-None-Match"] == '"4"', "the headers of a call win"


@pytest.mark.parametrize(
    "options", [{"idempotency_key": ""}, {"idempotency_key": "a" * 256}, {"idempotency_key": "é"}, {"if_match": ""}]
)
def test_a_key_or_tag_that_cannot_be_sent_is_refused(flavour: str, options: Any) -> None:
    respond, requests = _recorded({})
    with client_of(flavour, respond) as client, pytest.raises(InvalidArgumentError):
        client.update_session("s", **options)
    assert requests == []


def test_a_key_and_a_tag_have_their_effect_on_our_server(our_client: Client) -> None:
    created = our_client.create_session("someone", idempotency_key="order 17")
    assert our_client.create_session("someone", idempotency_key="order 17") == created
    with pytest.raises(IdempotencyKeyReusedError):
        our_client.create_session("someone else", idempotency_key="order 17")
    tag = our_client.with_raw_response.get_session(created.session_id).etag
    with pytest.raises(NotModifiedError):
        our_client.get_session(created.session_id, if_none_match=tag)
    our_client.update_session(created.session_id, tokens_used=1, if_match=tag)
    with pytest.raises(PreconditionFailedError):
        our_client.update_session(created.session_id, tokens_used=1, if_match=tag)
    with pytest.raises(PreconditionFailedError):
        our_client.delete_session(created.session_id, if_match=tag)


def test_a_page_leads_to_the_next_one(client: Client) -> None:
    ids = [client.create_session("someone").session_id for _ in range(5)][::-1]
    page = client.list_sessions(limit=2)
    assert [item.id for item in page.data] == ids[:2]
    assert page.has_next_page()
    following = page.next_page()
    assert [item.id for item in following.data] == ids[2:4]
    assert [item.id for item in page.next_page().data] == ids[2:4], "a page stays where it is"
    last = following.next_page()
    assert [item.id for item in last.data] == ids[4:]
    assert not last.has_next_page()
    with pytest.raises(ClientUsageError, match="no next page"):
        last.next_page()
    assert [item.id for item in page] == ids
    assert [item.id for item in client.with_raw_response.list_sessions(limit=3).parse().data] == ids[:3]


def test_results_have_the_members_of_the_wire() -> None:
    for name in ("CreatedSession", "UpdatedSession", "ExtendedSession", "DeletedSession", "ListedSession", "Session"):
        mine, wire = getattr(results, name), getattr(models, name)
        assert set(mine.__struct_encode_fields__) - {"extra"} == set(wire.__struct_encode_fields__)
        assert getattr(sessionary, name) is mine


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-22T22:09:00.123Z", datetime(2026, 11, 22, 22, 9, 0, 123_000, UTC)),
        ("2026-11-22T23:09:00+01:00", datetime(2026, 11, 22, 22, 9, tzinfo=UTC)),
        ("2026-11-22 22:09:00", datetime(2026, 11, 22, 22, 9, tzinfo=UTC)),
        ("2026-11-22T22:09:00.123456Z", datetime(2026, 11, 22, 22, 9, 0, 123_456, UTC)),
        (None, None),
        ("", None),
    ],
)
def test_times_are_aware_datetimes_in_utc(flavour: str, text: str | None, time: datetime | None) -> None:
    with client_of(flavour, lambda _: httpx2.Response(200, json={"id": "s", "created_at": text})) as client:
        session = client.get_session("s")
    assert session.created_at == time
    assert session.created_at is None or session.created_at.tzinfo is UTC
    assert session.extra == {}


def test_a_time_that_cannot_be_read_is_none_and_its_text_is_kept(flavour: str) -> None:
    with client_of(flavour, lambda _: httpx2.Response(201, json={"sessionId": "s", "createdAt": "soon"})) as client:
        created = client.create_session("u")
    assert (created.session_id, created.created_at, created.extra) == ("s", None, {"createdAt": "soon"})
    assert created.to_dict()["createdAt"] == "soon"


def test_a_time_to_import_may_be_a_datetime(flavour: str) -> None:
    respond, requests = _recorded({"sessionId": "s"})
    with client_of(flavour, respond) as client:
        client.create_session("u", created_at=datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
        with pytest.raises(InvalidArgumentError, match="time zone"):
            client.create_session("u", created_at=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake
    assert b'"createdAt":"2026-01-01T00:00:00.000Z"' in requests[0].read()


def test_the_class_itself_sends_nothing() -> None:
    with pytest.raises(TypeError, match="needs a client"):
        Client.with_raw_response.get_session("s")


def test_the_logger_is_the_packages(flavour: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="sessionary"), client_of(flavour, always(200, "[]")) as client:
        client.list_sessions()
    assert [record.name for record in caplog.records] == ["sessionary"]
