"""The conversation handle: one session, and messages in the form that models accept."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from sessionary import Client, ClientUsageError, InvalidArgumentError, UnavailableError
from sessionary.models import IDEMPOTENCY_KEY
from tests.client.mock_servers import client_of

SENT = {"role": "user", "content": "Hello", "name": "Ada", "id": "m-1", "metadata": {"created_at": "mine"}}


def test_messages_have_the_form_that_models_accept(our_client: Client) -> None:
    session_id = our_client.create_session("someone", initial_messages=[SENT]).session_id
    with our_client.session(session_id=session_id) as chat:
        assert chat.messages == [SENT]
        (stored,) = chat.stored_messages
        assert stored == {**SENT, "created_at": stored["created_at"]}
        said = {"role": "assistant", "content": "Hi", "tool_calls": [{"id": "t"}]}
        chat.say("assistant", "Hi", tool_calls=[{"id": "t"}])
        assert chat.messages == [SENT, said]
        assert chat.stored_messages == [stored, said]
        chat.refresh()
        assert chat.messages == [SENT, said]
        assert all("created_at" in message for message in chat.stored_messages)
        chat.messages[0]["content"] = "changed"
        assert chat.stored_messages[0]["content"] == "Hello"


def test_whatever_a_server_adds_to_messages_is_left_out(flavour: str) -> None:
    stored: list[Any] = [{**SENT, "created_at": "now", "edited_at": "later"}, "no object"]
    with (
        client_of(flavour, lambda _: httpx2.Response(200, json={"id": "s", "messages": stored})) as client,
        client.session(session_id="s") as chat,
    ):
        assert chat.messages == [SENT, "no object"]
        assert chat.stored_messages == stored


@pytest.mark.parametrize(
    "name",
    [
        "token_used",
        "tokenUsed",
        "tokens_usd",
        "Tokens-Used",
        "tokensused",
        "timeouts",
        "timout",
        "time_out",
        "header",
        "Headers",
        "tokens",
        "token",
        "organisation",
        "organization",
        "Content",
    ],
)
def test_a_mistyped_argument_of_say_is_refused_and_nothing_is_sent(flavour: str, name: str) -> None:
    requests: list[httpx2.Request] = []
    mistyped: Any = {name: 5}

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={"id": "s"})

    with (
        client_of(flavour, respond) as client,
        client.session(session_id="s") as chat,
        pytest.raises(TypeError, match="unexpected keyword argument"),
    ):
        chat.say("user", "x", **mistyped)
    assert [request.method for request in requests] == ["GET"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rol", "role"),
        ("roel", "role"),
        ("Role", "role"),
        ("contents", "content"),
        ("contnet", "content"),
        ("conten", "content"),
        ("metdata", "metadata"),
        ("meta_data", "metadata"),
        ("metadat", "metadata"),
        ("mtdata", "metadata"),
        ("Metadata", "metadata"),
        ("names", "name"),
        ("nmae", "name"),
        ("tool_call", "tool_calls"),
        ("toolCalls", "tool_calls"),
        ("tool_clals", "tool_calls"),
        ("tool_call_ids", "tool_call_id"),
        ("toolCallId", "tool_call_id"),
    ],
)
def test_a_mistyped_member_of_a_message_is_refused_and_the_right_one_named(flavour: str, name: str, meant: str) -> None:
    requests: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request.method)
        return httpx2.Response(200, json={"id": "s", "sessionId": "s"})

    mistyped: Any = {name: 5}
    with client_of(flavour, respond) as client, client.session(session_id="s") as chat:
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'; did you mean '{meant}'"):
            chat.say("user", "x", **mistyped)
        assert chat.messages == []
    assert requests == ["GET"]


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "tool_calls",
        "tool_call_id",
        "refusal",
        "audio",
        "function_call",
        "id",
        "metadata",
        "model",
        "status",
        "type",
        "annotations",
        "reasoning",
        "reasoning_content",
        "context",
        "consent",
        "intent",
        "tools",
        "role_name",
        "mode",
        "timestamp",
        "usage",
        "created",
        "attachments",
    ],
)
def test_members_that_messages_have_pass(flavour: str, name: str) -> None:
    with (
        client_of(flavour, lambda _: httpx2.Response(200, json={"id": "s", "sessionId": "s"})) as client,
        client.session(session_id="s") as chat,
    ):
        members: Any = {name: "kept"}
        chat.say("assistant", "x", tokens_used=1, **members)
        assert chat.messages == [{"role": "assistant", "content": "x", name: "kept"}]


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda client: client.list_sessions(timout=3), "timeout"),
        (lambda client: client.create_session("u", organization="o"), "organisation"),
        (lambda client: client.session(user_id="u", sessionGroup="g"), "session_group"),
        (lambda client: client.iterate_sessions(header={}), "headers"),
        (lambda client: client.iterate_messages("s", Token="t"), "token"),
    ],
)
def test_a_mistyped_option_is_refused_and_the_right_one_named(flavour: str, call: Any, meant: str) -> None:
    with (
        client_of(flavour, lambda _: httpx2.Response(200, json={"id": "s", "sessionId": "s"})) as client,
        pytest.raises(TypeError, match=f"did you mean '{meant}'"),
    ):
        call(client)
    with pytest.raises(TypeError, match="did you mean 'max_retries'"):
        Client("http://a.test", max_retrys=1)  # type: ignore[call-arg]


def test_a_conversation_creates_one_session_however_often_it_is_entered(client: Client) -> None:
    chat = client.session(user_id="someone", initial_messages=[{"role": "system", "content": "Be kind."}])
    with chat:
        chat.say("user", "One")
        with chat:
            chat.say("user", "Two")
    with pytest.raises(ZeroDivisionError), chat:
        raise ZeroDivisionError
    with chat:
        chat.say("user", "Three")
    assert [message["content"] for message in chat.messages] == ["Be kind.", "One", "Two", "Three"]
    assert [listed.id for listed in client.list_sessions().data] == [chat.id]


def test_a_failed_creation_is_retried_with_the_same_key(flavour: str) -> None:
    keys: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        keys.append(request.headers[IDEMPOTENCY_KEY])
        return httpx2.Response(503) if len(keys) == 1 else httpx2.Response(201, json={"sessionId": "s"})

    with client_of(flavour, respond, max_retries=0) as client:
        chat, other = client.session(user_id="someone"), client.session(user_id="someone")
        with pytest.raises(UnavailableError), chat:
            pass
        with chat, other:
            assert chat.id == "s"
    assert keys[0] == keys[1] != keys[2]


def test_a_conversation_entered_in_two_threads_at_once_creates_one_session() -> None:
    arrived, go_on = threading.Event(), threading.Event()
    created: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        created.append(request)
        arrived.set()
        assert go_on.wait(30)
        return httpx2.Response(201, json={"sessionId": "s"})

    with client_of("blocking", respond) as client, ThreadPoolExecutor(1) as threads:
        chat = client.session(user_id="someone")
        first = threads.submit(chat.__enter__)
        assert arrived.wait(30)
        with pytest.raises(ClientUsageError, match="elsewhere"), chat:
            pass
        go_on.set()
        assert first.result(30).id == "s"
    assert len(created) == 1


def test_a_conversation_that_was_not_entered_raises_an_error(flavour: str) -> None:
    with client_of(flavour, lambda _: httpx2.Response(200, json={"id": "s", "sessionId": "s"})) as client:
        with pytest.raises(ClientUsageError, match="has not started"):
            client.session(user_id="someone").say("user", "Hello")
        with pytest.raises(InvalidArgumentError, match="empty"):
            client.session(session_id="")
