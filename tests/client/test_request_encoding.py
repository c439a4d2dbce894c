"""Request bodies: exactly the arguments are sent, or nothing."""

import math
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest

from sessionary import Client, InvalidArgumentError
from sessionary.client import request_specs


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [math.nan, -math.inf, [{"a": (1, math.inf)}], {math.nan}, "\ud800", object(), {(1, 2): 3}, _nested(10_000)],
    ids=["nan", "infinity", "deep infinity", "nan in a set", "surrogate", "object", "key", "depth"],
)
def test_what_json_cannot_represent_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be written as JSON") as raised:
        request_specs.update_session("s", metadata={"null": None, "a": value})
    assert raised.value.response is None
    with pytest.raises(InvalidArgumentError):
        request_specs.create_session("u", initial_messages=[{"role": "user", "content": value}])


def test_none_is_not_accepted_as_a_number() -> None:
    call = request_specs.update_session("s", metadata={"gone": None, "kept": [1.5, None]})
    assert call.body == b'{"metadata":{"gone":null,"kept":[1.5,null]}}'


def test_what_is_not_given_is_not_sent() -> None:
    assert request_specs.update_session("s").body == b"{}"
    assert request_specs.extend_session("s").body == b'{"additionalMinutes":60}'
    assert request_specs.extend_session("s", None).body == b"{}"
    assert request_specs.create_session("u", expiration_minutes=None).body == b'{"userId":"u"}'
    assert request_specs.list_sessions(user_id="a b&c=ü").query == "userId=a%20b%26c%3D%C3%BC&limit=50"
    assert request_specs.get_session("s").query == ""
    assert (
        request_specs.get_session("s", messages_limit=1, messages_offset=0).query == "messagesLimit=1&messagesOffset=0"
    )


def test_any_mapping_and_any_iterable_is_accepted() -> None:
    messages: list[Any] = [MappingProxyType({"role": "user"}), OrderedDict(role="user")]
    call = request_specs.update_session("s", new_messages=iter(messages), metadata=MappingProxyType({"a": 1}))
    assert call.body == b'{"newMessages":[{"role":"user"},{"role":"user"}],"metadata":{"a":1}}'


@pytest.mark.parametrize(
    "call", [lambda: request_specs.get_session("\udfff"), lambda: request_specs.list_sessions(user_id="\udfff")]
)
def test_what_a_url_cannot_contain_is_refused(call: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be written in a URL"):
        call()


def test_an_iteration_with_wrong_arguments_is_refused_at_once() -> None:
    with pytest.raises(InvalidArgumentError):
        Client("http://a.test").iterate_sessions(user_id="\udfff")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"new_messages": "Hello"}, b'{"newMessages":"Hello"}'),
        ({"new_messages": {"role": "user", "content": "Hello"}}, b'{"newMessages":{"role":"user","content":"Hello"}}'),
        ({"new_messages": ["Hello", 7]}, b'{"newMessages":["Hello",7]}'),
        ({"new_messages": 7, "metadata": ["a"]}, b'{"newMessages":7,"metadata":["a"]}'),
    ],
)
def test_what_is_of_the_wrong_type_is_sent_for_the_server_to_refuse(given: Any, sent: bytes) -> None:
    assert request_specs.update_session("s", **given).body == sent
