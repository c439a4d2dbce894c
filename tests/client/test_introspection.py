"""Signatures, help and type hints of the client, mocks of it, and pickling."""

import copy
import inspect
import pickle
import pydoc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, get_type_hints
from unittest import mock

import pytest

from sessionary import (
    APIResponse,
    AsyncClient,
    AsyncConversation,
    AsyncPage,
    Client,
    Conversation,
    CreatedSession,
    ListedSession,
    Page,
    Session,
    UpdatedSession,
)
from tests.client.mock_servers import always, client_of

OPERATIONS: Final = (
    "create_session",
    "list_sessions",
    "get_session",
    "update_session",
    "extend_session",
    "delete_session",
)
WALKS: Final = ("iterate_sessions", "iterate_messages")
OPTIONS: Final = ("organisation", "token", "timeout", "headers")
KINDS: Final = (Client, AsyncClient)


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


_SAME: Final[list[Callable[[Any], Any]]] = [copy.copy, copy.deepcopy, _pickled]


def _made(kind: Any) -> Any:
    return kind("http://a.test", organisation="acme")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPERATIONS + WALKS)
def test_a_signature_names_every_argument(kind: Any, name: str) -> None:
    of_class, of_client = getattr(kind, name), getattr(_made(kind), name)
    shown = [of_class, of_client]
    if name in OPERATIONS:
        shown += [getattr(kind.with_raw_response, name), getattr(_made(kind).with_raw_response, name)]
    for function in shown:
        names = list(inspect.signature(function).parameters)
        assert (names[0] == "self") == (function is of_class)
        assert set(OPTIONS) <= set(names)
    assert list(inspect.signature(shown[-1]).parameters) == list(inspect.signature(of_client).parameters)
    names = list(inspect.signature(_made(kind).create_session).parameters)
    assert names[:4] == ["user_id", "session_group", "metadata", "expiration_minutes"]
    assert inspect.signature(kind.create_session).parameters["expiration_minutes"].default == 60


@pytest.mark.parametrize("kind", KINDS)
def test_help_shows_arguments_and_what_they_are_for(kind: Any) -> None:
    for thing in (kind, kind.create_session, _made(kind).create_session):
        text = pydoc.plain(pydoc.render_doc(thing))
        assert "create_session(" in text
        assert "session_group" in text
        assert "timeout" in text
        assert "Create a session" in text
        assert "Operation object" not in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_awaitable_operations_are_coroutine_functions(kind: Any, name: str) -> None:
    shown: list[Any] = [getattr(kind, name), getattr(_made(kind), name)]
    for function in shown:
        assert inspect.iscoroutinefunction(function) is (kind is AsyncClient)
        assert (function.__name__, function.__qualname__) == (name, f"{kind.__name__}.{name}")
    raw = getattr(_made(kind).with_raw_response, name)
    assert inspect.iscoroutinefunction(raw) is (kind is AsyncClient)
    assert (raw.__name__, raw.__qualname__) == (name, f"with_raw_response.{name}")


@pytest.mark.parametrize("kind", KINDS)
def test_type_hints_can_be_read(kind: Any) -> None:
    assert get_type_hints(kind.create_session)["return"] is CreatedSession
    assert get_type_hints(_made(kind).get_session)["session_id"] is str
    assert get_type_hints(kind.with_raw_response.get_session)["return"] == APIResponse[Session]
    several = Iterator if kind is Client else AsyncIterator
    assert get_type_hints(kind.iterate_sessions)["return"] == several[ListedSession]
    assert get_type_hints(kind.list_sessions)["return"] == (Page if kind is Client else AsyncPage)[ListedSession]
    for thing in (kind, kind.__init__, kind.session, kind.close, kind.send):
        assert get_type_hints(thing) is not None


@pytest.mark.parametrize("conversation", [Conversation, AsyncConversation])
@pytest.mark.parametrize("name", ["say", "extend", "complete", "refresh"])
def test_a_conversation_shows_its_arguments(conversation: Any, name: str) -> None:
    function = getattr(conversation, name)
    assert {"timeout", "headers"} <= set(inspect.signature(function).parameters)
    assert inspect.iscoroutinefunction(function) is (conversation is AsyncConversation)
    assert get_type_hints(function)["return"] is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_and_its_conversations_show_their_options(kind: Any) -> None:
    assert {"url", "token", "organisation", "timeout", "max_retries", "proxy", "on_attempt"} <= set(
        inspect.signature(kind).parameters
    )
    assert {"user_id", "session_id", "title", "metadata"} <= set(inspect.signature(kind.session).parameters)
    assert {*OPERATIONS, *WALKS, "session", "close"} <= set(dir(kind))


def _stand_ins() -> list[tuple[str, Callable[[], Any]]]:
    return [
        ("class", mock.create_autospec(Client)),
        ("instance", lambda: mock.create_autospec(Client, instance=True)),
        ("client", lambda: mock.create_autospec(_made(Client))),
    ]


@pytest.mark.parametrize(("_", "make"), _stand_ins(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_mock_of_the_client_checks_its_arguments(_: str, make: Callable[[], Any]) -> None:
    client = make()
    client.create_session.return_value = CreatedSession("s", "active")
    assert client.create_session("u", session_group="g", timeout=3).session_id == "s"
    client.create_session.assert_called_once_with("u", session_group="g", timeout=3)
    for misused in (
        client.create_session,
        lambda: client.create_session("u", "g"),
        lambda: client.create_session("u", sesion_group="g"),
        client.iterate_messages,
    ):
        with pytest.raises(TypeError):
            misused()
    with pytest.raises(AttributeError):
        client.create_sesion("u")
    client.with_raw_response.get_session("s")


async def test_a_mock_of_the_async_client_is_awaited() -> None:
    for client in (mock.create_autospec(AsyncClient)(), mock.create_autospec(AsyncClient, instance=True)):
        client.create_session.return_value = CreatedSession("s", "active")
        assert (await client.create_session("u")).session_id == "s"
        client.create_session.assert_awaited_once_with("u")
        await client.with_raw_response.get_session("s")
        with pytest.raises(TypeError):
            await client.create_session("u", sesion_group="g")


async def test_an_operation_of_the_class_can_be_replaced() -> None:
    answer = CreatedSession("s", "active")
    blocking, awaitable = _made(Client), _made(AsyncClient)
    with mock.patch.object(Client, "create_session", autospec=True, return_value=answer) as replaced:
        assert blocking.create_session("u") is answer
        replaced.assert_called_once_with(blocking, "u")
    with mock.patch.object(AsyncClient, "create_session", autospec=True, return_value=answer):
        assert await awaitable.create_session("u") is answer
    with mock.patch.object(blocking, "create_session", autospec=True, return_value=answer):
        assert blocking.create_session("u") is answer
    operation: Any = Client.create_session
    assert inspect.isfunction(operation)


def test_an_operation_may_be_overridden_and_called_through_its_class() -> None:
    class Counting(Client):
        calls = 0

        def create_session(self, *args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return super().create_session(*args, **kwargs)

    with client_of("blocking", always(201, '{"sessionId": "s"}')) as client:
        assert Client.create_session(client, "u").session_id == "s"
        assert client.with_raw_response.create_session("u").parse().session_id == "s"
        client.__class__ = Counting
        assert client.create_session("u").session_id == "s"
        assert client.calls == 1  # type: ignore[attr-defined]


def test_results_can_be_pickled_and_copied_but_clients_cannot(flavour: str) -> None:
    with client_of(flavour, always(200, '{"sessionId": "s", "totalMessages": 3}')) as client:
        response = client.with_raw_response.update_session("s")
        for same in _SAME:
            found: UpdatedSession = same(response.parse())
            assert found == response.parse()
    copied = pickle.loads(pickle.dumps(response))  # noqa: S301 - our own
    assert (copied.parse(), copied.status_code) == (response.parse(), 200)
    for kind in KINDS:
        made = _made(kind)
        for refused in (made, made.session(user_id="u")):
            with pytest.raises(TypeError, match="pickled or copied"):
                pickle.dumps(refused)
            with pytest.raises(TypeError, match="pickled or copied"):
                copy.copy(refused)
