"""Messages: which are valid, and that they are returned as they were sent."""

import json
from typing import Any

import pytest

from tests.http.callers import Caller, Response, message, parse_timestamp

TOOL_CALL = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": "{}"}}

GOOD: list[dict[str, Any]] = [
    {"role": "user", "content": ""},
    {"role": "user", "content": []},
    {"role": "user", "content": [{}]},
    {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "x"}}]},
    {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
    {"role": "assistant", "tool_calls": [TOOL_CALL]},
    {"role": "assistant", "content": "", "tool_calls": []},
    {"role": "assistant", "content": "Hi", "tool_calls": None},
    {"role": "assistant", "content": "Hi", "tool_calls": {"not": "a list"}},
    {"role": "tool", "content": "42", "tool_call_id": "call-1", "name": "look"},
    {"content": "the role comes last", "role": "user"},
    {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "42"}]},
    {"type": "reasoning", "summary": [], "content": None},
    {"type": "event", "role": None, "content": {"any": [1, 2.5, None, True]}},
    {"type": "event", "content": 5},
    {"type": "event", "content": ["Hi", None, [[]]]},
    {"type": "message", "role": "assistant", "content": False},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}, 5]},
    {"type": " ", "content": "any text will do"},
    {"role": "user", "content": "Hi", "type": ""},
    {"role": "user", "content": "Hi", "type": 5},
    {"role": "user", "content": "Hi", "type": None},
    {"role": "user", "content": "Hi", "id": 7, "metadata": {"a": [None, {"b": 0.5}]}, "": "empty key", "role ": None},
    {"role": "user", "content": "Hi", "Role": "x", "Content": 5, "createdAt": "mine", "userId": "", "a.b/c~d": True},
]

BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "/role"),
    ({"content": "Hi"}, "/role"),
    ({"content": "Hi", "type": ""}, "/role"),
    ({"content": "Hi", "type": None}, "/role"),
    ({"content": "Hi", "type": 5}, "/role"),
    ({"content": "Hi", "type": ["message"]}, "/role"),
    ({"type": "message", "role": "robot", "content": "Hi"}, "/role"),
    ({"type": "message", "role": "", "content": "Hi"}, "/role"),
    ({"type": "message", "role": 5}, "/role"),
    ({"type": "", "role": "user", "content": 5}, "/content"),
    ({"type": "", "role": "user"}, "/content"),
    ({"type": {}, "role": "user", "content": [5]}, "/content/0"),
    ({"role": "user"}, "/content"),
    ({"role": "user", "content": None}, "/content"),
    ({"role": "assistant", "content": None, "tool_calls": []}, "/content"),
    ({"role": "assistant", "tool_calls": None}, "/content"),
    ({"role": "assistant", "tool_calls": {"a": 1}}, "/content"),
    ({"role": "assistant", "tool_calls": "call"}, "/content"),
    ({"role": None, "content": "Hi"}, "/role"),
    ({"role": "", "content": "Hi"}, "/role"),
    ({"role": "User", "content": "Hi"}, "/role"),
    ({"role": "function", "content": "Hi"}, "/role"),
    ({"role": "user\0", "content": "Hi"}, "/role"),
    ({"role": ["user"], "content": "Hi"}, "/role"),
    ({"role": 1, "content": "Hi"}, "/role"),
    ({"role": "user", "content": 5}, "/content"),
    ({"role": "user", "content": True}, "/content"),
    ({"role": "user", "content": {"text": "Hi"}}, "/content"),
    ({"role": "user", "content": ["Hi"]}, "/content/0"),
    ({"role": "user", "content": [{"text": "Hi"}, None]}, "/content/1"),
    ({"role": "user", "content": [[]]}, "/content/0"),
    ({"role": "assistant", "content": 5, "tool_calls": [TOOL_CALL]}, "/content"),
]


def sent_both_ways(caller: Caller, messages: list[Any]) -> tuple[Response, Response]:
    """Send messages with create_session and with update_session."""
    return caller.create(initialMessages=messages), caller.update(caller.new_session(), newMessages=messages)


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool", "developer"])
def test_every_role_is_accepted_first_and_later(caller: Caller, role: str) -> None:
    for response in sent_both_ways(caller, [message("Hi", role)]):
        assert response.status in {200, 201}
        (stored,) = caller.read(response.json["sessionId"])["messages"]
        assert (stored["role"], stored["content"]) == (role, "Hi")


@pytest.mark.parametrize("given", GOOD, ids=str)
def test_a_message_is_returned_as_it_was_sent(caller: Caller, given: dict[str, Any]) -> None:
    for response in sent_both_ways(caller, [given]):
        assert response.status in {200, 201}
        (stored,) = caller.read(response.json["sessionId"])["messages"]
        parse_timestamp(stored.pop("created_at"))
        assert json.dumps(stored) == json.dumps(given)


@pytest.mark.parametrize(("given", "pointer"), BAD, ids=str)
def test_an_invalid_message_is_400_with_its_pointer(caller: Caller, given: dict[str, Any], pointer: str) -> None:
    created, updated = sent_both_ways(caller, [message(), given, message()])
    assert created.error == (400, "INVALID_REQUEST")
    assert created.pointers == [f"/initialMessages/1{pointer}"]
    assert updated.error == (400, "INVALID_REQUEST")
    assert updated.pointers == [f"/newMessages/1{pointer}"]


@pytest.mark.parametrize("given", [None, "Hi", 5, [], [message()], True])
def test_a_message_must_be_an_object(caller: Caller, given: object) -> None:
    created, updated = sent_both_ways(caller, [message(), given])
    assert created.pointers == ["/initialMessages/1"]
    assert updated.pointers == ["/newMessages/1"]


def test_the_error_for_an_unknown_role_lists_the_known_roles(caller: Caller) -> None:
    for response in sent_both_ways(caller, [{"role": "robot-7", "content": "Hi"}]):
        (fault,) = response.problem["errors"]
        assert fault["detail"] == "must be one of: system, user, assistant, tool, developer."
        assert response.problem["detail"] == f"{fault['pointer']}: {fault['detail']}"
        assert b"robot" not in response.body


def test_up_to_twenty_invalid_messages_are_reported(caller: Caller) -> None:
    bad = {"role": "robot", "content": "Hi"}
    response = caller.update(caller.new_session(), newMessages=[message(), bad, message(), bad])
    assert response.pointers == ["/newMessages/1/role", "/newMessages/3/role"]
    assert len(caller.create(initialMessages=[bad] * 100).pointers) == 20


@pytest.mark.parametrize("claimed", ["2001-01-01T00:00:00.000Z", "", None, 5, {"a": 1}])
def test_created_at_is_set_by_the_server(caller: Caller, claimed: object) -> None:
    for response in sent_both_ways(
        caller, [message("Hi", created_at=claimed), {"created_at": claimed, **message("Ho")}]
    ):
        session = caller.read(response.json["sessionId"])
        assert [stored["created_at"] for stored in session["messages"]] == [session["updated_at"]] * 2
        assert [stored["content"] for stored in session["messages"]] == ["Hi", "Ho"]


def test_created_at_inside_a_member_is_not_changed(caller: Caller) -> None:
    given = message([{"created_at": "mine"}], metadata={"created_at": 1})
    (stored,) = caller.read(caller.new_session(initialMessages=[given]))["messages"]
    assert stored["content"] == [{"created_at": "mine"}]
    assert stored["metadata"] == {"created_at": 1}


TEXTS = [
    "\0",
    "a\0b\0",
    "".join(map(chr, range(0x20))),
    "\x7f\x80\x85\x9f\xa0\xad",
    '"\\/\b\f\n\r\t',
    "\\u0000 \\ud800",
    "\u2028\u2029\ufeff\ufffe\uffff\u200f\u202e",
    "\u00e9 e\u0301 \u1e9e \u0130 \u0131 \ufb01 \ud55c \u1112\u1161\u11ab \ufdfa",
    "\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001d518 \U0010ffff",
    "</script><!-- {{7*7}} ${x} %s %00 '; DROP TABLE sessions; --",
    " \t leading and trailing \n ",
    '":"a":1,"a" :2,{"',
]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_message_may_contain_any_text_and_is_returned_equal(caller: Caller, text: str, ascii_only: bool) -> None:  # noqa: FBT001
    given = message(text, name=text, metadata={text: [text]}) | {text: text}
    parts = message([{"type": "text", "text": text}])
    body = json.dumps({"userId": "someone", "initialMessages": [given, parts]}, ensure_ascii=ascii_only)
    response = caller.create_raw(body.encode())
    assert response.status == 201
    stored, spoken_in_parts = caller.read(response.json["sessionId"])["messages"]
    assert stored == {**given, "created_at": stored["created_at"]}
    assert spoken_in_parts["content"] == parts["content"]
    assert caller.update_raw(response.json["sessionId"], json.dumps({"newMessages": [given]}).encode()).status == 200
    assert caller.get(response.json["sessionId"], "?messagesLimit=1").json["messages"][0]["content"] == text
