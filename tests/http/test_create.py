import re
from datetime import timedelta
from typing import Any

import pytest

from tests.http.callers import Caller, as_json, message, parse_timestamp

UUID_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_create_session_returns_201_in_camel_case(caller: Caller) -> None:
    response = caller.create()
    assert response.status == 201
    assert response.headers["content-type"] == "application/json"
    assert list(response.json) == ["sessionId", "status", "expiresAt", "createdAt"]
    assert UUID_7.fullmatch(response.json["sessionId"])
    assert response.json["status"] == "active"


def test_create_session_expires_after_an_hour_by_default(caller: Caller) -> None:
    created = caller.create().json
    assert parse_timestamp(created["expiresAt"]) - parse_timestamp(created["createdAt"]) == timedelta(minutes=60)


@pytest.mark.parametrize("minutes", [5, 6, 60, 1439, 1440])
def test_create_session_expires_after_the_given_minutes(caller: Caller, minutes: int) -> None:
    created = caller.create(expirationMinutes=minutes).json
    assert parse_timestamp(created["expiresAt"]) - parse_timestamp(created["createdAt"]) == timedelta(minutes=minutes)


@pytest.mark.parametrize("minutes", [4, 0, -60, 1441, 2**31, 2**63, 2**64 - 1, 60.0, 60.5, "60", True, [60], {}])
def test_create_session_refuses_minutes_out_of_range(caller: Caller, minutes: object) -> None:
    response = caller.create(expirationMinutes=minutes)
    assert response.error == (400, "INVALID_REQUEST")
    assert response.pointers == ["/expirationMinutes"]


@pytest.mark.parametrize("number", [b"60.0", b"6e1", b"6.0E1", b"60.000000000000001"])
def test_an_integer_must_be_written_as_one(caller: Caller, number: bytes) -> None:
    response = caller.create_raw(b'{"userId":"someone","expirationMinutes":%b}' % number)
    assert response.error == (400, "INVALID_REQUEST")


def test_create_session_stores_every_field(caller: Caller) -> None:
    session_id = caller.new_session(
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
    assert [stored["content"] for stored in session["messages"]] == ["Be kind.", "Hello"]


@pytest.mark.parametrize("user", [{}, {"userId": None}, {"userId": ""}, {"userId": 7}, {"userId": ["a"]}])
def test_create_session_requires_a_user(caller: Caller, user: dict[str, Any]) -> None:
    assert caller.create_raw(as_json(user)).error == (400, "INVALID_REQUEST")


OPTIONAL = ["sessionGroup", "metadata", "expirationMinutes", "initialMessages", "title", "model"]


def test_create_session_treats_null_as_absent(caller: Caller) -> None:
    response = caller.create(**dict.fromkeys(OPTIONAL))
    assert response.status == 201
    assert parse_timestamp(response.json["expiresAt"]) - parse_timestamp(response.json["createdAt"]) == timedelta(
        minutes=60
    )
    session = caller.read(response.json["sessionId"])
    assert (session["session_group"], session["title"], session["model"]) == (None, None, None)
    assert (session["metadata"], session["messages"]) == ({}, [])


def test_create_session_ignores_unknown_fields(caller: Caller) -> None:
    response = caller.create(status="completed", tokensUsed=-1, newMessages="x", anything={"deep": [None]})
    assert response.status == 201
    session = caller.read(response.json["sessionId"])
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
    response = caller.create(**{field: value})
    assert response.error == (400, "INVALID_REQUEST")
    assert response.pointers == [f"/{field}"]


def test_create_session_omits_metadata_keys_that_are_null(caller: Caller) -> None:
    session_id = caller.new_session(metadata={"kept": 1, "removed": None, "deep": {"kept": None}})
    assert caller.read(session_id)["metadata"] == {"kept": 1, "deep": {"kept": None}}


def test_create_session_treats_an_empty_metadata_array_as_an_empty_object(caller: Caller) -> None:
    assert caller.read(caller.new_session(metadata=[]))["metadata"] == {}


def test_a_user_may_have_several_sessions(caller: Caller) -> None:
    assert caller.new_session() != caller.new_session()
    assert len(caller.list().json) == 2
