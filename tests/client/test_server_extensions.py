"""What only our server supports, through both clients."""

from typing import Any

import httpx2
import pytest

from sessionary import (
    Client,
    FieldError,
    InvalidRequestError,
    MetadataTooLargeError,
    MissingScopeError,
    NotModifiedError,
    PermissionDeniedError,
    ResponseValidationError,
)
from tests.client.clients import Endpoint, make_client
from tests.client.mock_servers import always, client_of, in_turn
from tests.harness.server import ServerProcess


def test_title_and_model_are_set_and_model_filters(our_client: Client) -> None:
    created = our_client.create_session("someone", title="First", model="m-1")
    our_client.create_session("someone", model="m-2")
    our_client.update_session(created.session_id, title="Second")
    (found,) = our_client.list_sessions(model="m-1").data
    assert (found.id, found.title, found.model) == (created.session_id, "Second", "m-1")


def test_a_listed_session_has_all_members_but_the_messages(our_client: Client) -> None:
    created = our_client.create_session(
        "someone", session_group="g", metadata={"a": [1]}, initial_messages=[{"role": "user", "content": "Hello"}]
    )
    our_client.update_session(created.session_id, tokens_used=9, status="completed", metadata={"b": 2, "a": None})
    (found,) = our_client.list_sessions(status="completed").data
    assert (found.user_id, found.session_group, found.title) == ("someone", "g", "Hello")
    assert (found.status, found.total_messages, found.total_tokens) == ("completed", 1, 9)
    assert (found.metadata, found.expires_at) == ({"b": 2}, created.expires_at)
    assert our_client.list_sessions(status="active").data == []


def test_a_window_of_messages_has_its_offset(our_client: Client) -> None:
    messages = [{"role": "user", "content": str(number)} for number in range(6)]
    session_id = our_client.create_session("someone", initial_messages=messages).session_id
    last = our_client.get_session(session_id, messages_limit=2)
    assert ([message["content"] for message in last.messages], last.messages_offset) == (["4", "5"], 4)
    middle = our_client.get_session(session_id, messages_limit=2, messages_offset=1)
    assert ([message["content"] for message in middle.messages], middle.messages_offset) == (["1", "2"], 1)
    assert our_client.get_session(session_id).messages_offset is None


def test_messages_appended_while_iterating_are_read_too(our_client: Client) -> None:
    messages = [{"role": "user", "content": str(number)} for number in range(4)]
    session_id = our_client.create_session("someone", initial_messages=messages).session_id
    found = []
    for message in our_client.iterate_messages(session_id, window_limit=2):
        found.append(message["content"])
        if len(found) == 2:
            our_client.update_session(session_id, new_messages=[{"role": "user", "content": "late"}])
    assert found == ["0", "1", "2", "3", "late"]


def test_iterate_sessions_follows_links(our_client: Client) -> None:
    ids = [our_client.create_session("someone", session_group="a & b").session_id for _ in range(5)]
    our_client.create_session("someone")
    found = [item.id for item in our_client.iterate_sessions(session_group="a & b", page_limit=2)]
    assert found == ids[::-1]
    response = our_client.with_raw_response.list_sessions(session_group="a & b", limit=2)
    assert "cursor=" in response.http_response.links["next"]["url"]


def test_only_the_query_of_a_link_is_used(flavour: str) -> None:
    requests: list[httpx2.URL] = []
    answered = in_turn(
        [
            httpx2.Response(200, json=[{"id": "1"}], headers={"Link": '<https://evil.test/x?cursor=c>; rel="next"'}),
            httpx2.Response(200, json=[{"id": "2"}]),
        ]
    )

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request.url)
        return answered(request)

    with client_of(flavour, respond) as client:
        assert [item.id for item in client.iterate_sessions(page_limit=1)] == ["1", "2"]
    assert [(url.host, url.path) for url in requests] == [("server.test", "/api/v3/organizations/acme/ai/sessions")] * 2
    assert requests[1].query == b"cursor=c"


def test_a_link_that_cannot_be_parsed_is_an_error(flavour: str) -> None:
    respond = always(200, b'[{"id": "1"}]', Link='<http://[::1>; rel="next"')
    with client_of(flavour, respond) as client, pytest.raises(ResponseValidationError, match="cannot be read"):
        list(client.iterate_sessions())


def test_links_in_a_circle_are_not_followed_for_ever(flavour: str) -> None:
    def respond(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=[{"id": "1"}], headers={"Link": '<?cursor=c>; rel="next"'})

    with client_of(flavour, respond) as client, pytest.raises(ResponseValidationError, match="same page"):
        list(client.iterate_sessions())


def test_a_server_that_ignores_offsets_is_not_asked_for_ever(flavour: str) -> None:
    asked: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.params.get("offset", "0"))
        assert len(asked) < 100
        return httpx2.Response(200, json=[{"id": "1"}, {"id": "2"}])

    with client_of(flavour, respond) as client:
        sessions = iter(client.iterate_sessions(page_limit=2))
        assert [next(sessions).id, next(sessions).id] == ["1", "2"]
        with pytest.raises(ResponseValidationError, match="ignore offset"):
            next(sessions)
    assert asked == [str(2 * number) for number in range(11)]


def test_a_refusal_points_at_what_is_wrong(our_client: Client) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "nobody", "content": "b"}]
    with pytest.raises(InvalidRequestError) as raised:
        our_client.create_session("someone", initial_messages=messages)
    error = raised.value
    (field_error,) = error.field_errors
    assert isinstance(field_error, FieldError)
    assert field_error.pointer == "/initialMessages/1/role"
    assert (error.status, error.code) == (400, "INVALID_REQUEST")
    assert error.response is not None
    assert error.request_id == error.response.headers["X-Request-Id"]
    with pytest.raises(MetadataTooLargeError):
        our_client.create_session("someone", metadata={"a": "x" * 70_000})


def test_a_request_id_of_the_caller_is_returned(our_client: Client) -> None:
    headers = {"X-Request-Id": "mine-1"}
    response = our_client.with_raw_response.list_sessions(headers=headers)
    assert response.headers["X-Request-Id"] == "mine-1"
    with pytest.raises(InvalidRequestError) as raised:
        our_client.list_sessions(limit=0, headers=headers)
    assert raised.value.request_id == "mine-1"


def test_a_token_of_another_organisation_or_scope_is_forbidden(
    flavour: str, server: ServerProcess, organisation: str
) -> None:
    token = server.create_token(organisation, scopes=["sessions:read"])
    with make_client(flavour, server.base_url, token=token, organisation=organisation) as client:
        assert client.list_sessions().data == []
        with pytest.raises(MissingScopeError):
            client.create_session("someone")
        with pytest.raises(PermissionDeniedError) as raised:
            client.list_sessions(organisation="another")
    assert type(raised.value) is PermissionDeniedError


def test_a_path_before_the_api_belongs_to_the_servers_url(
    our_endpoint: Endpoint, flavour: str, organisation: str
) -> None:
    requests: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(str(request.url))
        return httpx2.Response(200, json=[])

    with make_client(
        flavour,
        "https://host.test/chat/",
        token=our_endpoint.token,
        organisation=organisation,
        transport=httpx2.MockTransport(respond),
    ) as client:
        client.list_sessions(organisation="a b")
    assert requests == ["https://host.test/chat/api/v3/organizations/a%20b/ai/sessions?limit=50"]


def test_messages_of_the_wrong_type_are_refused_where_they_are_wrong(our_client: Client) -> None:
    session_id = our_client.create_session("someone").session_id
    wrong: list[tuple[Any, str]] = [("Hello", "/newMessages"), (["Hello"], "/newMessages/0"), ({}, "/newMessages")]
    for new_messages, pointer in wrong:
        with pytest.raises(InvalidRequestError) as raised:
            our_client.update_session(session_id, new_messages=new_messages)
        assert [field_error.pointer for field_error in raised.value.field_errors] == [pointer]


def test_a_session_that_has_not_changed_is_not_sent_again(our_client: Client) -> None:
    session_id = our_client.create_session("someone").session_id
    tag = our_client.with_raw_response.get_session(session_id).etag
    with pytest.raises(NotModifiedError) as raised:
        our_client.get_session(session_id, if_none_match=tag)
    assert (raised.value.status, raised.value.code) == (304, "NOT_MODIFIED")
    assert raised.value.response is not None
    assert raised.value.response.headers["ETag"] == tag
    our_client.update_session(session_id, tokens_used=1)
    assert our_client.get_session(session_id, if_none_match=tag).total_tokens == 1


def test_what_a_conversation_does_takes_headers_and_a_timeout_for_once(flavour: str) -> None:
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={"id": "s", "sessionId": "s"})

    with (
        client_of(flavour, respond, timeout=30) as client,
        client.session(session_id="s", timeout=20, headers={"X-All": "1", "X-Both": "1"}) as chat,
    ):
        chat.say("user", "Hello", name="ada", timeout=5, headers={"X-Both": "2", "X-Once": "3"})
        chat.extend(5, timeout=6, headers={"X-Both": "4"})
        chat.complete(timeout=None)
        chat.refresh(headers={"X-Request-Id": "mine"})
    assert requests[-1].headers["x-request-id"] == "mine"
    names = ("x-all", "x-both", "x-once")
    assert [[request.headers.get(name) for name in names] for request in requests] == [
        ["1", "1", None],
        ["1", "2", "3"],
        ["1", "4", None],
        ["1", "1", None],
        ["1", "1", None],
    ]
    assert [request.extensions["timeout"]["read"] for request in requests] == [20, 5, 6, None, 20]
    assert requests[1].read() == b'{"newMessages":[{"role":"user","content":"Hello","name":"ada"}]}'
