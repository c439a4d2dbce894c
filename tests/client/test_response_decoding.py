"""Responses of other servers: members that are missing, null or unknown, and invalid responses."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest

from sessionary import (
    Client,
    CreatedSession,
    DeletedSession,
    ExtendedSession,
    ListedSession,
    ResponseValidationError,
    Session,
    UpdatedSession,
)
from tests.client.mock_servers import always, client_of

NOW: Final = "2026-11-22T22:09:00.123Z"
LATER: Final = "2026-11-22T23:09:00.123Z"
NOW_READ: Final = datetime(2026, 11, 22, 22, 9, 0, 123_000, UTC)
LATER_READ: Final = datetime(2026, 11, 22, 23, 9, 0, 123_000, UTC)
CREATED: Final = {"sessionId": "s", "status": "active", "expiresAt": LATER, "createdAt": NOW}
UPDATED: Final = {
    "sessionId": "s",
    "status": "completed",
    "totalMessages": 3,
    "totalTokens": 9,
    "updatedAt": NOW,
}
EXTENDED: Final = {"sessionId": "s", "expiresAt": LATER, "message": "Extended"}
DELETED: Final = {"message": "Deleted"}
LISTED: Final = {
    "id": "s",
    "title": "t",
    "model": "m",
    "created_at": NOW,
    "updated_at": NOW,
    "user_id": "u",
    "session_group": "g",
    "status": "active",
    "total_messages": 3,
    "total_tokens": 9,
    "metadata": {"a": 1},
    "expires_at": LATER,
}
SESSION: Final = {**LISTED, "messages": [{"role": "user", "content": "Hello", "x": [1]}], "messages_offset": 2}


def _read(members: dict[str, Any]) -> dict[str, Any]:
    times = {name: LATER_READ if name == "expires_at" else NOW_READ for name in members if name.endswith("_at")}
    return {**members, **times}


WHOLE: Final[Mapping[str, tuple[Mapping[str, Any], Any]]] = {
    "create_session": (CREATED, CreatedSession("s", "active", LATER_READ, NOW_READ)),
    "update_session": (UPDATED, UpdatedSession("s", "completed", 3, 9, NOW_READ)),
    "extend_session": (EXTENDED, ExtendedSession("s", LATER_READ, "Extended")),
    "delete_session": (DELETED, DeletedSession("Deleted")),
    "get_session": (SESSION, Session(**_read(SESSION))),
    "list_sessions": (LISTED, ListedSession(**_read(LISTED))),
}
NOTHING: Final = {str: ("", None), int: (0, None), dict: ({},), list: ([],)}


def _call(client: Client, operation: str) -> Any:
    if operation == "list_sessions":
        return client.list_sessions().data[0]
    return getattr(client, operation)("s")


def _response_body(operation: str, answer: Any) -> bytes:
    return json.dumps([answer] if operation == "list_sessions" else answer).encode()


@pytest.mark.parametrize("operation", WHOLE)
def test_a_complete_response_is_decoded_with_its_unknown_members(flavour: str, operation: str) -> None:
    answer, expected = WHOLE[operation]
    with client_of(flavour, always(200, _response_body(operation, {**answer, "new_member": [1]}))) as client:
        found = _call(client, operation)
    assert found.extra == {"new_member": [1]}
    assert found.to_dict() == {**answer, "new_member": [1]}
    assert json.loads(found.to_json()) == found.to_dict()
    assert msgspec.structs.replace(found, extra={}) == expected


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        (name, member)
        for name in WHOLE
        for member in WHOLE[name][0]
        if (name, member) != ("create_session", "sessionId")
    ],
)
def test_any_member_may_be_missing_or_null(operation: str, member: str) -> None:
    answer, whole = WHOLE[operation]
    without = {name: value for name, value in answer.items() if name != member}
    for given in (without, {**without, member: None}):
        with client_of("blocking", always(200, _response_body(operation, given))) as client:
            found = _call(client, operation)
        changed = [name for name in found.__struct_fields__ if getattr(found, name) != getattr(whole, name)]
        assert len(changed) == 1
        assert getattr(found, changed[0]) in NOTHING[type(answer[member])]


IDENTIFYING: Final = [
    ("create_session", "sessionId"),
    ("delete_session", "message"),
    *((name, member) for name in ("update_session", "extend_session") for member in ("sessionId",)),
    ("update_session", "totalMessages"),
    ("extend_session", "expiresAt"),
    *((name, member) for name in ("get_session", "list_sessions") for member in ("id", "metadata", "total_tokens")),
    ("get_session", "messages"),
]


@pytest.mark.parametrize(("operation", "member"), IDENTIFYING)
def test_every_other_member_may_be_missing(flavour: str, operation: str, member: str) -> None:
    answer, _ = WHOLE[operation]
    with client_of(flavour, always(200, _response_body(operation, {member: answer[member]}))) as client:
        found = _call(client, operation)
    values = [getattr(found, name) for name in found.__struct_fields__]
    assert sum(value not in ("", 0, None, [], {}) for value in values) == 1


@pytest.mark.parametrize("operation", [name for name in WHOLE if name != "delete_session"])
@pytest.mark.parametrize(
    "content",
    [
        {},
        {"error": "maintenance"},
        {"status": "ok"},
        {"status": "error", "message": "Down for maintenance"},
        {"title": "Maintenance", "detail": "Come back later"},
        {"sessionId": None, "id": None, "messages": None, "session_id": "s"},
    ],
    ids=repr,
)
def test_an_object_without_a_known_member_is_an_invalid_response(
    flavour: str, operation: str, content: dict[str, Any]
) -> None:
    with (
        client_of(flavour, always(200, _response_body(operation, content)), max_retries=0) as client,
        pytest.raises(ResponseValidationError, match="it has no") as raised,
    ):
        _call(client, operation)
    assert raised.value.response is not None
    assert raised.value.status == 200


@pytest.mark.parametrize("content", [{**CREATED, "sessionId": ""}, {**CREATED, "sessionId": " "}, {**SESSION}])
def test_a_creation_without_a_session_id_is_an_invalid_response(flavour: str, content: dict[str, Any]) -> None:
    respond = always(201, _response_body("create_session", content))
    with client_of(flavour, respond, max_retries=0) as client:
        with pytest.raises(ResponseValidationError, match="sessionId"):
            client.create_session("u")
        chat = client.session(user_id="u")
        with pytest.raises(ResponseValidationError, match="sessionId"), chat:
            pass
        assert chat.id == ""


@pytest.mark.parametrize("content", [{}, {"success": True}, {"message": None}, {"error": None, "errors": []}], ids=repr)
def test_a_deletion_is_confirmed_by_any_object(flavour: str, content: dict[str, Any]) -> None:
    with client_of(flavour, always(200, json.dumps(content))) as client:
        assert client.delete_session("s").message == ""


@pytest.mark.parametrize(
    "content", [{"error": "maintenance"}, {"errors": [{"detail": "no"}], "message": "x"}], ids=repr
)
def test_a_deletion_is_not_confirmed_by_an_error(flavour: str, content: dict[str, Any]) -> None:
    respond = always(200, json.dumps(content))
    with (
        client_of(flavour, respond, max_retries=0) as client,
        pytest.raises(ResponseValidationError, match="contains an error"),
    ):
        client.delete_session("s")


@pytest.mark.parametrize("call", ["update_session", "extend_session"])
def test_a_change_may_be_confirmed_by_status_alone(flavour: str, call: str) -> None:
    with client_of(flavour, always(204)) as client:
        assert getattr(client, call)("s").session_id == ""


def test_an_empty_array_counts_as_an_empty_object_as_in_php() -> None:
    with client_of("blocking", always(200, _response_body("get_session", {**SESSION, "metadata": []}))) as client:
        assert client.get_session("s").metadata == {}


def test_an_unknown_session_status_is_accepted() -> None:
    with client_of("blocking", always(200, _response_body("get_session", {**SESSION, "status": "archived"}))) as client:
        assert str(client.get_session("s").status) == "archived"


@pytest.mark.parametrize("call", ["create_session", "get_session", "list_sessions"])
def test_an_empty_response_is_invalid_where_a_result_is_needed(flavour: str, call: str) -> None:
    with client_of(flavour, always(204)) as client, pytest.raises(ResponseValidationError, match="empty"):
        getattr(client, call)(*(() if call == "list_sessions" else ("s",)))


def test_a_deletion_may_have_an_empty_response() -> None:
    with client_of("blocking", always(204)) as client:
        assert client.delete_session("s") == DeletedSession("")


@pytest.mark.parametrize(
    ("content", "media_type", "reason"),
    [
        (b"", "application/json", "it is empty"),
        (b'{"id": "s", "mess', "application/json", "cannot be read as JSON"),
        (b"<html>Please log in</html>", "text/html", "cannot be read as JSON"),
        (b'"text"', "application/json", "expected an object"),
        (b"[]", "application/json", "expected an object"),
        (b'{"id": 7}', "application/json", r"Expected `str`, got `int` - at `\$.id`"),
        (b'{"total_tokens": true}', "application/json", r"Expected `int`, got `\w+` - at `\$.total_tokens`"),
        (b'{"total_tokens": "9"}', "application/json", r"Expected `int`, got `\w+` - at `\$.total_tokens`"),
        (b'{"messages": {}}', "application/json", r"Expected `array`, got `object` - at `\$.messages`"),
        (b"\xff\xfe", "application/json", "cannot be read as JSON"),
        (b"[" * 100_000, "application/json", "cannot be read as JSON"),
    ],
)
def test_what_is_not_json_is_an_invalid_response(flavour: str, content: bytes, media_type: str, reason: str) -> None:
    respond = always(200, content, content_type=media_type, x_request_id="r-1")
    with client_of(flavour, respond) as client, pytest.raises(ResponseValidationError, match=reason) as raised:
        client.get_session("s")
    assert (raised.value.status, raised.value.request_id) == (200, "r-1")
    assert raised.value.response is not None
    assert raised.value.response.content == content


def test_a_list_response_that_is_no_array_is_invalid() -> None:
    with (
        client_of("blocking", always(200, b"{}")) as client,
        pytest.raises(ResponseValidationError, match="expected an array"),
    ):
        client.list_sessions()


@pytest.mark.parametrize("time", [1_795_385_340, 1.5, True, ["2026"], {"at": NOW}, "yesterday", "2026-11-22T22:09:60Z"])
def test_a_time_that_cannot_be_read_is_none_and_stays_in_extra(flavour: str, time: Any) -> None:
    body = json.dumps({"sessionId": "s", "createdAt": time, "expiresAt": LATER})
    with client_of(flavour, always(201, body)) as client:
        created = client.create_session("u")
    assert (created.created_at, created.expires_at) == (None, LATER_READ)
    assert created.extra == {"createdAt": time}
    assert created.to_dict()["createdAt"] == time


@pytest.mark.parametrize("text", ["2026-11-22t22:09:00.123z", "2026-11-23T00:09:00.123+02:00", NOW])
def test_a_time_is_read_in_every_form_of_rfc_3339(flavour: str, text: str) -> None:
    with client_of(flavour, always(200, json.dumps({"id": "s", "created_at": text}))) as client:
        assert client.get_session("s").created_at == NOW_READ
