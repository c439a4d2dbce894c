import time
from typing import Any

import pytest

from tests.http.callers import Caller, as_json, message, parse_timestamp, unknown_id

INT32_MAX = 2_147_483_647


def let_the_clock_move() -> None:
    """Wait for the next millisecond, so that a timestamp that changes differs."""
    time.sleep(0.003)


def test_update_session_returns_200_in_camel_case(caller: Caller) -> None:
    session_id = caller.new_session(initialMessages=[message("Be kind.", "system")])
    response = caller.update(session_id, newMessages=[message(), message("Hi", "assistant")], tokensUsed=12)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert list(response.json) == ["sessionId", "status", "totalMessages", "totalTokens", "updatedAt"]
    assert response.json["sessionId"] == session_id
    assert response.json["status"] == "active"
    assert b'"totalMessages":3,"totalTokens":12,' in response.body
    assert response.json["updatedAt"] == caller.read(session_id)["updated_at"]


def test_update_session_appends_in_order_and_adds_tokens(caller: Caller) -> None:
    session_id = caller.new_session()
    contents: list[str] = []
    for turn in range(5):
        words = [f"{turn}.{number}" for number in range(turn)]
        contents += words
        response = caller.update(session_id, newMessages=[message(word) for word in words], tokensUsed=10 * turn)
        assert response.json["totalMessages"] == len(contents)
        assert response.json["totalTokens"] == sum(10 * earlier for earlier in range(turn + 1))
    session = caller.read(session_id)
    assert [stored["content"] for stored in session["messages"]] == contents
    assert (session["total_messages"], session["total_tokens"]) == (10, 100)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b" { } ",
        b'{"newMessages":null,"tokensUsed":null,"status":null,"metadata":null,"title":null,"model":null}',
    ],
)
def test_update_session_with_an_empty_body_changes_nothing(caller: Caller, body: bytes) -> None:
    session_id = caller.new_session(initialMessages=[message()], metadata={"a": 1})
    before = caller.get(session_id).body
    let_the_clock_move()
    response = caller.update_raw(session_id, body)
    assert response.status == 200
    assert response.json["updatedAt"] == caller.read(session_id)["created_at"]
    assert (response.json["totalMessages"], response.json["totalTokens"]) == (1, 0)
    assert caller.get(session_id).body == before


@pytest.mark.parametrize(
    "fields",
    [
        {"newMessages": [message()]},
        {"newMessages": []},
        {"tokensUsed": 1},
        {"tokensUsed": 0},
        {"status": "completed"},
        {"status": "active"},
        {"metadata": {"a": 2}},
        {"metadata": {}},
        {"metadata": []},
        {"title": "Another"},
        {"model": "another"},
    ],
    ids=str,
)
def test_update_session_with_any_field_changes_updated_at_and_not_the_expiry(
    caller: Caller, fields: dict[str, Any]
) -> None:
    session_id = caller.new_session()
    before = caller.read(session_id)
    let_the_clock_move()
    response = caller.update(session_id, **fields)
    after = caller.read(session_id)
    assert response.json["updatedAt"] == after["updated_at"]
    assert parse_timestamp(after["updated_at"]) > parse_timestamp(before["updated_at"])
    assert (after["created_at"], after["expires_at"]) == (before["created_at"], before["expires_at"])


def test_update_session_merges_metadata_by_top_level_key(caller: Caller) -> None:
    session_id = caller.new_session(metadata={"a": 1, "b": {"x": 1, "y": 2}, "c": [1], "d": "removed"})
    assert caller.update(session_id, metadata={"b": {"z": 3}, "d": None, "e": True, "never": None}).status == 200
    assert caller.read(session_id)["metadata"] == {"a": 1, "b": {"z": 3}, "c": [1], "e": True}
    assert caller.update(session_id, metadata={}).status == 200
    assert caller.update_raw(session_id, b'{"metadata": []}').status == 200
    assert caller.read(session_id)["metadata"] == {"a": 1, "b": {"z": 3}, "c": [1], "e": True}
    assert caller.update(session_id, metadata=dict.fromkeys("abce")).status == 200
    assert caller.read(session_id)["metadata"] == {}


def test_update_session_stores_null_inside_a_member_of_metadata(caller: Caller) -> None:
    session_id = caller.new_session()
    caller.update(session_id, metadata={"a": {"b": None}, "c": [None]})
    assert caller.read(session_id)["metadata"] == {"a": {"b": None}, "c": [None]}


def test_update_session_completes_a_session_and_makes_it_active_again(caller: Caller) -> None:
    session_id = caller.new_session()
    assert caller.update(session_id, status="completed").json["status"] == "completed"
    assert caller.read(session_id)["status"] == "completed"
    again = caller.update(session_id, newMessages=[message("One more")], tokensUsed=1, metadata={"a": 1})
    assert (again.json["status"], again.json["totalMessages"]) == ("completed", 1)
    assert caller.extend(session_id).status == 200
    assert caller.update(session_id, status="active").json["status"] == "active"
    assert caller.read(session_id)["status"] == "active"


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("tokensUsed", -1, "/tokensUsed"),
        ("tokensUsed", INT32_MAX + 1, "/tokensUsed"),
        ("tokensUsed", 2**63, "/tokensUsed"),
        ("tokensUsed", 5.0, "/tokensUsed"),
        ("tokensUsed", "5", "/tokensUsed"),
        ("tokensUsed", False, "/tokensUsed"),
        ("status", "expired", "/status"),
        ("status", "Active", "/status"),
        ("status", "", "/status"),
        ("status", 1, "/status"),
        ("newMessages", {}, "/newMessages"),
        ("newMessages", "Hello", "/newMessages"),
        ("newMessages", [message(), "Hello"], "/newMessages/1"),
        ("metadata", "a", "/metadata"),
        ("metadata", [1], "/metadata"),
        ("title", "", "/title"),
        ("title", 5, "/title"),
        ("model", "", "/model"),
        ("model", ["m"], "/model"),
    ],
)
def test_update_session_refuses_a_field_of_the_wrong_type_and_changes_nothing(
    caller: Caller, field: str, value: object, pointer: str
) -> None:
    session_id = caller.new_session()
    before = caller.get(session_id).body
    good = {"newMessages": [message()], "tokensUsed": 1, "status": "completed", "metadata": {"a": 1}}
    response = caller.update(session_id, **{**good, field: value})
    assert response.error == (400, "INVALID_REQUEST")
    assert response.pointers == [pointer]
    assert caller.get(session_id).body == before


@pytest.mark.parametrize("body", [b"", b" \r\n", b"null", b"[]", b'"a"', b"1", b"true"])
def test_update_session_requires_an_object(caller: Caller, body: bytes) -> None:
    assert caller.update_raw(caller.new_session(), body).status == 400


def test_update_session_ignores_unknown_fields(caller: Caller) -> None:
    session_id = caller.new_session()
    response = caller.update(
        session_id, userId=5, sessionGroup=[], expirationMinutes=-1, initialMessages="x", anything="y", tokensUsed=2
    )
    assert (response.status, response.json["totalTokens"], response.json["totalMessages"]) == (200, 2, 0)
    assert caller.read(session_id)["user_id"] == "someone"


def test_update_session_counts_tokens_up_to_31_bits_and_no_further(caller: Caller) -> None:
    session_id = caller.new_session()
    assert caller.update(session_id, tokensUsed=INT32_MAX - 1).json["totalTokens"] == INT32_MAX - 1
    before = caller.get(session_id).body
    response = caller.update(session_id, tokensUsed=2, newMessages=[message()], status="completed", metadata={"a": 1})
    assert response.error == (400, "TOTAL_TOO_LARGE")
    assert caller.get(session_id).body == before
    assert caller.update(session_id, tokensUsed=1).json["totalTokens"] == INT32_MAX
    assert caller.update(session_id, tokensUsed=1).error == (400, "TOTAL_TOO_LARGE")
    assert caller.update(session_id, tokensUsed=0).json["totalTokens"] == INT32_MAX


def test_update_session_is_one_atomic_step(caller: Caller) -> None:
    session_id = caller.new_session()
    before = caller.get(session_id).body
    messages = [message("good"), {"role": "user"}, message("good")]
    response = caller.update(session_id, newMessages=messages, tokensUsed=1, title="A title", metadata={"a": 1})
    assert response.error == (400, "INVALID_REQUEST")
    assert caller.get(session_id).body == before


def test_update_session_of_an_unknown_id_is_404(caller: Caller) -> None:
    assert caller.update(unknown_id(), tokensUsed=1).error == (404, "SESSION_NOT_FOUND")
    assert caller.update(unknown_id()).error == (404, "SESSION_NOT_FOUND")


def test_update_session_applies_each_of_several_equal_updates(caller: Caller) -> None:
    session_id = caller.new_session()
    body = as_json({"newMessages": [message()], "tokensUsed": 1})
    totals = [caller.update_raw(session_id, body).json["totalMessages"] for _ in range(20)]
    assert totals == list(range(1, 21))
