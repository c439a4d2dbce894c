"""What the documentation promises, through both clients, on our server and on one that is only as documented."""

from datetime import UTC, timedelta
from typing import Any, TypedDict

import pytest

from sessionary import (
    APIResponse,
    AuthenticationError,
    Client,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    SessionaryError,
)
from tests.client.clients import Endpoint


def _texts(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["content"] for message in messages]


def test_create_session_returns_an_id_and_an_expiry(client: Client) -> None:
    created = client.create_session(user_id="user-12345", session_group="drupal-production", expiration_minutes=5)
    assert created.session_id
    assert created.status == "active"
    assert created.expires_at is not None
    assert created.created_at is not None
    assert created.expires_at - created.created_at >= timedelta(minutes=4)
    assert created.expires_at.tzinfo is UTC


def test_get_session_returns_the_messages_in_order_with_unknown_members(client: Client) -> None:
    first = {"role": "user", "content": "Hello", "id": "m-1", "metadata": {"deep": [1, None, {"x": 1.5}]}}
    second = {"role": "assistant", "content": "Hi\0 \u00e4 \U0001f600", "n": 2**64 - 1, "negative": -(2**63)}
    created = client.create_session("someone", initial_messages=[first])
    client.update_session(created.session_id, new_messages=[second])
    session = client.get_session(created.session_id)
    assert session.id == created.session_id
    kept = [{name: value for name, value in message.items() if name != "created_at"} for message in session.messages]
    assert kept == [first, second]


def test_update_session_adds_up(client: Client) -> None:
    created = client.create_session("someone", initial_messages=[{"role": "system", "content": "Be kind."}])
    messages = ({"role": "user", "content": str(number)} for number in range(3))
    updated = client.update_session(created.session_id, new_messages=messages, tokens_used=12)
    assert (updated.session_id, updated.total_messages, updated.total_tokens) == (created.session_id, 4, 12)
    assert client.update_session(created.session_id, tokens_used=30).total_tokens == 42
    assert client.update_session(created.session_id, status="completed").status == "completed"


def test_extend_session_moves_the_expiry(client: Client) -> None:
    created = client.create_session("someone")
    once = client.extend_session(created.session_id)
    twice = client.extend_session(created.session_id, 30)
    assert created.expires_at
    assert once.expires_at
    assert twice.expires_at
    assert created.expires_at < once.expires_at < twice.expires_at
    assert (once.message, twice.message) == (
        "Session extended by 60 minutes",
        "Session extended by 30 minutes",
    )


def test_delete_session_makes_it_absent(client: Client) -> None:
    created = client.create_session("someone")
    assert client.delete_session(created.session_id).message
    with pytest.raises(NotFoundError):
        client.get_session(created.session_id)
    with pytest.raises(NotFoundError):
        client.delete_session(created.session_id)


def test_list_sessions_filters_and_pages(client: Client) -> None:
    ids = [client.create_session(user, session_group="g").session_id for user in ("a", "a", "b", "a")]
    assert [item.id for item in client.list_sessions().data] == ids[::-1]
    assert [item.id for item in client.list_sessions(user_id="a", session_group="g", limit=2).data] == [ids[3], ids[1]]
    assert [item.id for item in client.list_sessions(user_id="a", limit=2, offset=2).data] == [ids[0]]
    assert client.list_sessions(model="none").data == []


def test_iterate_sessions_reads_every_page_once(client: Client) -> None:
    ids = [client.create_session("someone").session_id for _ in range(5)]
    for page_limit in (1, 2, 5, 100):
        found = [item.id for item in client.iterate_sessions(user_id="someone", page_limit=page_limit)]
        assert found == ids[::-1]
    assert list(client.iterate_sessions(user_id="nobody")) == []


def test_iterate_sessions_does_not_repeat_what_is_pushed_down(client: Client) -> None:
    ids = [client.create_session("someone").session_id for _ in range(4)]
    found: list[str] = []
    for item in client.iterate_sessions(page_limit=2):
        found.append(item.id)
        if len(found) == 2:
            client.create_session("someone")
    assert found == ids[::-1]


def test_iterate_messages_reads_every_window(client: Client) -> None:
    messages = [{"role": "user", "content": str(number)} for number in range(7)]
    created = client.create_session("someone", initial_messages=messages)
    for limit in (1, 3, 7, 100):
        assert _texts(list(client.iterate_messages(created.session_id, window_limit=limit))) == list("0123456")
    assert _texts(list(client.iterate_messages(created.session_id, messages_offset=5))) == ["5", "6"]
    assert list(client.iterate_messages(created.session_id, messages_offset=9)) == []


@pytest.mark.parametrize("session_id", ["a/b", "a/extend", "..", ".", "?", "ä b%2F#", "0", " "])
def test_an_id_is_one_segment_of_the_path_whatever_it_holds(client: Client, session_id: str) -> None:
    for call in (client.get_session, client.update_session, client.extend_session, client.delete_session):
        with pytest.raises(NotFoundError, match=r"(?i)session"):
            call(session_id)


def test_an_empty_id_is_not_sent(client: Client) -> None:
    with pytest.raises(InvalidArgumentError, match="session id is empty") as raised:
        client.delete_session("")
    assert raised.value.response is None


def test_with_raw_response_gives_the_http_response_too(client: Client) -> None:
    response = client.with_raw_response.create_session("someone")
    created = response.parse()
    assert isinstance(response, APIResponse)
    assert (response.status_code, response.http_response.status_code) == (201, 201)
    assert response.http_response.json()["sessionId"] == created.session_id
    assert client.with_raw_response.get_session(created.session_id).status_code == 200


def test_an_error_describes_the_problem_and_has_the_response(client: Client, endpoint: Endpoint) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        client.create_session("someone", expiration_minutes=4)
    error = raised.value
    assert (error.status, error.code == "INVALID_REQUEST") == (400, True)
    assert error.response is not None
    assert error.response.status_code == 400
    assert str(error) == error.response.json()["message"]
    assert endpoint.token not in "".join([repr(error), *error.__notes__])


def test_a_token_can_be_another_one_for_a_call(client: Client) -> None:
    with pytest.raises(AuthenticationError):
        client.list_sessions(token="nonsense")
    assert client.list_sessions().data == []


def test_an_organisation_can_be_another_one_for_a_call(client: Client) -> None:
    created = client.create_session("someone", organisation="somewhere/else?")
    assert client.list_sessions().data == []
    assert client.get_session(created.session_id, organisation="somewhere/else?").id == created.session_id
    client.delete_session(created.session_id, organisation="somewhere/else?")


def test_every_failure_is_a_sessionary_error(client: Client) -> None:
    for call in (client.get_session, client.delete_session):
        with pytest.raises(SessionaryError):
            call("nothing")


def test_messages_may_be_typed_dictionaries(client: Client) -> None:
    class Said(TypedDict):
        role: str
        content: str

    said: list[Said] = [{"role": "user", "content": "Hello"}]
    created = client.create_session("someone", initial_messages=said)
    assert _texts(client.get_session(created.session_id).messages) == ["Hello"]


def test_a_conversation_with_several_messages(client: Client) -> None:
    start = [{"role": "system", "content": "Be kind."}]
    with client.session(user_id="someone", initial_messages=start) as chat:
        assert chat.say("user", "Hello", name="Ada").total_messages == 2
        chat.say("assistant", "Hi", tokens_used=7)
        expiry = chat.expires_at
        chat.extend(30)
        assert chat.messages == [*start, {"role": "user", "content": "Hello", "name": "Ada"}, chat.messages[2]]
        assert chat.expires_at
        assert expiry
        assert chat.expires_at > expiry
        chat.complete()
        assert (chat.status, chat.total_messages, chat.total_tokens) == ("completed", 3, 7)
    with client.session(session_id=chat.id) as again:
        assert _texts(again.messages) == ["Be kind.", "Hello", "Hi"]
        client.update_session(chat.id, new_messages=[{"role": "user", "content": "From elsewhere"}])
        again.refresh()
        assert _texts(again.messages)[-1] == "From elsewhere"


def test_a_conversation_takes_either_a_session_id_or_a_user_id(client: Client) -> None:
    with pytest.raises(InvalidArgumentError, match="either"):
        client.session()
    with pytest.raises(InvalidArgumentError, match="either"):
        client.session(user_id="someone", session_id="some")
    with pytest.raises(NotFoundError), client.session(session_id="nothing"):
        pass
