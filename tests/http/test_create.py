import re
from datetime import timedelta
from typing import Any

import pytest

from tests.http.calling import Caller, as_json, message, moment

UUID_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_create_session_answers_201_in_camel_case(caller: Caller) -> None:
    answer = caller.create()
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["sessionId", "status", "expiresAt", "createdAt"]
    assert UUID_7.fullmatch(answer.json["sessionId"])
    assert answer.json["status"] == "active"


def test_create_session_lives_for_an_hour_unless_told(caller: Caller) -> None:
    created = caller.create().json
    assert moment(created["expiresAt"]) - moment(created["createdAt"]) == timedelta(minutes=60)


@pytest.mark.parametrize("minutes", [5, 6, 60, 1439, 1440])
def test_create_session_lives_for_as_many_minutes_as_told(caller: Caller, minutes: int) -> None:
    created = caller.create(expirationMinutes=minutes).json
    assert moment(created["expiresAt"]) - moment(created["createdAt"]) == timedelta(minutes=minutes)


@pytest.mark.parametrize("minutes", [4, 0, -60, 1441, 2**31, 2**63, 2**64 - 1, 60.0, 60.5, "60", True, [60], {}])
def test_create_session_refuses_other_minutes(caller: Caller, minutes: object) -> None:
    answer = caller.create(expirationMinutes=minutes)
    assert answer.refusal == (400, "INVALID_REQUEST")
    assert answer.pointers == ["/expirationMinutes"]


@pytest.mark.parametrize("number", [b"60.0", b"6e1", b"6.0E1", b"60.000000000000001"])
def test_an_integer_is_spelled_as_one(caller: Caller, number: bytes) -> None:
    answer = caller.create_raw(b'{"userId":"someone","expirationMinutes":%b}' % number)
    assert answer.refusal == (400, "INVALID_REQUEST")


def test_create_session_keeps_everything_it_is_given(caller: Caller) -> None:
    session_id = caller.begin(
        userId="user-1",
        sessionGroup="support",
        metadata={"channel": "web", "tags": ["a", 1, None, {"b": False}]},
        expirationMinutes=5,
        initialMessages=[message("Be kind.", "system"), message("Hello")],
        title="A title",
        model="a-model",
    )
    session = caller.read(session_id)
    assert session["user_id"] == "user-1"
    assert session["session_group"] == "support"
    assert session["metadata"] == {"channel": "web", "tags": ["a", 1, None, {"b": False}]}
    assert session["title"] == "A title"
    assert session["model"] == "a-model"
    assert session["status"] == "active"
    assert session["total_messages"] == 2
    assert session["total_tokens"] == 0
    assert [said["content"] for said in session["messages"]] == ["Be kind.", "Hello"]


@pytest.mark.parametrize("user", [{}, {"userId": None}, {"userId": ""}, {"userId": 7}, {"userId": ["a"]}])
def test_create_session_needs_a_user(caller: Caller, user: dict[str, Any]) -> None:
    assert caller.create_raw(as_json(user)).refusal == (400, "INVALID_REQUEST")


OPTIONAL = ["sessionGroup", "metadata", "expirationMinutes", "initialMessages", "title", "model"]


def test_create_session_takes_null_as_absent(caller: Caller) -> None:
    answer = caller.create(**dict.fromkeys(OPTIONAL))
    assert answer.status == 201
    assert moment(answer.json["expiresAt"]) - moment(answer.json["createdAt"]) == timedelta(minutes=60)
    session = caller.read(answer.json["sessionId"])
    assert (session["session_group"], session["title"], session["model"]) == (None, None, None)
    assert (session["metadata"], session["messages"]) == ({}, [])


def test_create_session_ignores_fields_it_does_not_know(caller: Caller) -> None:
    answer = caller.create(status="completed", tokensUsed=-1, newMessages="x", anything={"deep": [None]})
    assert answer.status == 201
    session = caller.read(answer.json["sessionId"])
    assert (session["status"], session["user_id"], session["title"]) == ("active", "someone", None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sessionGroup", 1),
        ("sessionGroup", ""),
        ("metadata", "text"),
        ("metadata", ["a"]),
        ("metadata", [[]]),
        ("metadata", 0),
        ("initialMessages", {}),
        ("initialMessages", "Hello"),
        ("title", ""),
        ("title", 1),
        ("model", ""),
        ("model", {}),
    ],
)
def test_create_session_refuses_a_known_field_of_the_wrong_type(caller: Caller, field: str, value: object) -> None:
    answer = caller.create(**{field: value})
    assert answer.refusal == (400, "INVALID_REQUEST")
    assert answer.pointers == [f"/{field}"]


def test_create_session_leaves_out_metadata_that_is_null(caller: Caller) -> None:
    session_id = caller.begin(metadata={"kept": 1, "gone": None, "deep": {"kept": None}})
    assert caller.read(session_id)["metadata"] == {"kept": 1, "deep": {"kept": None}}


def test_create_session_takes_an_empty_array_of_metadata_for_an_empty_object(caller: Caller) -> None:
    assert caller.read(caller.begin(metadata=[]))["metadata"] == {}


def test_two_sessions_of_one_user_are_two_sessions(caller: Caller) -> None:
    assert caller.begin() != caller.begin()
    assert len(caller.list().json) == 2
