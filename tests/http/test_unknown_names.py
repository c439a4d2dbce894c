"""Misspelt names are refused with the intended name; unknown names are ignored, except with strict handling."""

from typing import Any

import pytest

from sessionary.models import CreateSession, ExtendSession, ListParameters, UpdateSession, WindowParameters
from sessionary.server.http.unknown_names import UNKNOWN_MAX, KnownNames
from tests.http.callers import JSON, Caller, Response, as_json, message

MISSPELT_PARAMETERS = [
    ("user_id", "userId"),
    ("userid", "userId"),
    ("UserId", "userId"),
    ("USER-ID", "userId"),
    ("user", "userId"),
    ("userIds", "userId"),
    ("session_group", "sessionGroup"),
    ("sesionGroup", "sessionGroup"),
    ("Limit", "limit"),
    ("limits", "limit"),
    ("limti", "limit"),
    ("limit%00", "limit"),
    ("Model", "model"),
    ("mdoel", "model"),
    ("stat", "status"),
    ("offest", "offset"),
    ("curser", "cursor"),
]
MISSPELT_MEMBERS = {
    "create": [
        ("user_id", "userId"),
        ("userID", "userId"),
        ("initalMessages", "initialMessages"),
        ("initial_messages", "initialMessages"),
        ("initialMessage", "initialMessages"),
        ("metaData", "metadata"),
        ("meta-data", "metadata"),
        ("Metadata", "metadata"),
        ("expiration_minutes", "expirationMinutes"),
        ("expirationMinute", "expirationMinutes"),
        ("sessionGruop", "sessionGroup"),
        ("titel", "title"),
        ("created_at", "createdAt"),
    ],
    "update": [
        ("new_messages", "newMessages"),
        ("newMesages", "newMessages"),
        ("newmessages", "newMessages"),
        ("tokens_used", "tokensUsed"),
        ("tokenUsed", "tokensUsed"),
        ("token_use", "tokensUsed"),
        ("Status", "status"),
        ("MODEL", "model"),
    ],
    "extend": [("additional_minutes", "additionalMinutes"), ("aditionalMinutes", "additionalMinutes")],
}
_SOUND: dict[str, dict[str, Any]] = {"create": {"userId": "ada"}, "update": {"tokensUsed": 5}, "extend": {}}
MEMBERS = [(operation, given, meant) for operation, pairs in MISSPELT_MEMBERS.items() for given, meant in pairs]


def send(caller: Caller, operation: str, members: dict[str, Any], **headers: str) -> Response:
    """Send a body that would have an effect without these members."""
    session = "" if operation == "create" else f"/{caller.new_session()}"
    sound = _SOUND[operation]
    path = f"{caller.sessions}{session}{'/extend' if operation == 'extend' else ''}"
    method = "POST" if operation == "create" else "PUT"
    return caller.send(method, path, as_json(sound | members), JSON | headers)


@pytest.mark.parametrize(("given", "meant"), MISSPELT_PARAMETERS)
def test_a_misspelt_parameter_is_refused_and_the_intended_one_named(caller: Caller, given: str, meant: str) -> None:
    caller.new_session(userId="alice")
    for query in (f"?{given}=bob", f"?{given}", f"?limit=1&{given}=1" if meant != "limit" else f"?{given}=1"):
        response = caller.list(query)
        assert response.error == (400, "UNKNOWN_NAME")
        assert response.pointers == [meant]
        assert f"{meant} is meant" in response.problem["detail"]


@pytest.mark.parametrize("given", ["messages_limit", "messageLimit", "MessagesLimit", "messages-offset"])
def test_a_misspelt_window_parameter_is_refused(caller: Caller, given: str) -> None:
    response = caller.get(caller.new_session(), f"?{given}=1")
    assert response.error == (400, "UNKNOWN_NAME")


@pytest.mark.parametrize(("operation", "given", "meant"), MEMBERS)
def test_a_misspelt_member_is_refused_and_the_intended_one_named(
    caller: Caller, operation: str, given: str, meant: str
) -> None:
    for value in (None, [message()]):
        response = send(caller, operation, {given: value})
        assert response.error == (400, "UNKNOWN_NAME")
        assert response.pointers == [f"/{meant}"]
        assert response.problem["detail"] == f"The body: a name is misspelt, {meant} is meant."
        assert f'"{given}"' not in response.body.decode()
    assert [one["total_tokens"] for one in caller.list().json if one["total_tokens"]] == []


def test_a_misspelt_required_member_is_reported_as_misspelt(caller: Caller) -> None:
    response = caller.create_raw(b'{"user_id":"bob"}')
    assert response.error == (400, "UNKNOWN_NAME")
    assert response.pointers == ["/userId"]


@pytest.mark.parametrize("name", ["unknown", "tokens", "sessionId", "modelId", "messages", "total_tokens", "", "💬"])
@pytest.mark.parametrize("operation", ["create", "update", "extend"])
def test_any_other_unknown_member_is_ignored(caller: Caller, operation: str, name: str) -> None:
    assert send(caller, operation, {name: 1}).status in {200, 201}


def test_a_name_of_another_operation_is_ignored(caller: Caller) -> None:
    assert send(caller, "update", {"userId": "ada", "sessionGroup": "web", "expirationMinutes": 5}).status == 200
    assert send(caller, "extend", {"status": "completed", "newMessages": []}).status == 200
    assert send(caller, "create", {"tokensUsed": 5, "status": "completed", "newMessages": []}).status == 201
    assert caller.get(caller.new_session(), "?limit=0&status=x").status == 200


def test_no_known_name_is_similar_to_one_of_another_operation() -> None:
    kinds = (CreateSession, UpdateSession, ExtendSession, ListParameters, WindowParameters)
    names = [kind.__struct_encode_fields__ for kind in kinds]
    for known in names:
        for given in names:
            KnownNames(known, "The body").check(given, strict=False)


def test_names_in_messages_and_metadata_are_not_checked(caller: Caller) -> None:
    inside: dict[str, Any] = {"user_id": 1, "Role": "x", "created-at": 1, "metaData": {"new_messages": []}}
    session_id = caller.new_session(metadata=inside, initialMessages=[message(**inside)])
    assert caller.read(session_id)["metadata"] == inside


PREFERRED = [
    "handling=strict",
    "Handling=Strict",
    'handling="strict"',
    "handling = strict",
    "respond-async, handling=strict",
    "handling=strict; foo=bar",
    'foo="a, handling=lenient", handling=strict, wait=5',
    ",, handling=strict,",
]
NOT_PREFERRED = [
    "",
    "handling=lenient",
    "handling",
    "strict",
    "handling=strictly",
    "xhandling=strict",
    "foo; handling=strict",
    'foo="handling=strict"',
    'foo="a, handling=strict"',
    "handling=lenient, handling=strict",
]


@pytest.mark.parametrize("prefer", PREFERRED)
def test_with_strict_handling_every_unknown_name_is_refused(caller: Caller, prefer: str) -> None:
    session_id = caller.new_session()
    path, headers = f"{caller.sessions}/{session_id}", {"Prefer": prefer}
    for response in (
        send(caller, "create", {"unknown-7": 1}, Prefer=prefer),
        send(caller, "update", {"unknown-7": 1}, Prefer=prefer),
        send(caller, "extend", {"unknown-7": 1}, Prefer=prefer),
        caller.send("POST", f"{caller.sessions}?unknown-7=1", b'{"userId":"a"}', headers),
        caller.send("GET", f"{caller.sessions}?unknown-7=1", headers=headers),
        caller.send("GET", f"{caller.sessions}?%FF=1", headers=headers),
        caller.send("GET", f"{path}?unknown-7=1", headers=headers),
        caller.send("PUT", f"{path}?unknown-7", b"{}", headers),
        caller.send("PUT", f"{path}/extend?unknown-7", b"", headers),
        caller.send("DELETE", f"{path}?unknown-7=1", headers=headers),
    ):
        assert response.error == (400, "UNKNOWN_NAME")
        assert response.headers["preference-applied"] == "handling=strict"
        assert b"unknown-7" not in response.body
    assert (
        "known are: messagesLimit, messagesOffset"
        in caller.send("GET", f"{path}?x=1", headers=headers).problem["detail"]
    )
    served = caller.send("GET", f"{caller.sessions}?limit=1&&", headers=headers)
    assert (served.status, served.headers["preference-applied"]) == (200, "handling=strict")
    assert send(caller, "update", {"title": "T"}, Prefer=prefer).headers["preference-applied"] == "handling=strict"


@pytest.mark.parametrize("prefer", NOT_PREFERRED)
def test_other_preferences_are_ignored_and_not_confirmed(caller: Caller, prefer: str) -> None:
    response = send(caller, "create", {"unknown": 1}, Prefer=prefer)
    assert response.status == 201
    assert "preference-applied" not in response.headers


def test_too_many_unknown_names_are_refused(caller: Caller) -> None:
    assert send(caller, "create", {f"unknown {number}": 1 for number in range(UNKNOWN_MAX)}).status == 201
    assert send(caller, "create", {f"unknown {number}": 1 for number in range(UNKNOWN_MAX + 1)}).error == (
        400,
        "UNKNOWN_NAME",
    )
    query = "&".join(f"x{number}" for number in range(UNKNOWN_MAX + 1))
    assert caller.list(f"?{query}").error == (400, "UNKNOWN_NAME")
    assert caller.list(f"?{'&'.join(['x'] * 1000)}").status == 200
    many = [name for number in range(25) for name in (f"user_{'_' * number}id",)]
    refused = send(caller, "create", dict.fromkeys(many, 1))
    assert refused.pointers == ["/userId"] * 20


@pytest.mark.parametrize("name", ["u" * 1_000_000, "_" * 60_000 + "userId", "a" * 65])
def test_a_very_long_name_is_not_compared(caller: Caller, name: str) -> None:
    assert send(caller, "create", {name: 1}).status == 201
