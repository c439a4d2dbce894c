"""Names that are nearly known are refused and the known one is named; others are ignored, unless the caller objects."""

from typing import Any

import pytest

from sessionary.models import CreateSession, ExtendSession, ListParameters, UpdateSession, WindowParameters
from sessionary.server.http.unknown_names import UNKNOWN_MAX, KnownNames
from tests.http.calling import JSON, Answer, Caller, as_json, message

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


def send(caller: Caller, operation: str, members: dict[str, Any], **headers: str) -> Answer:
    """Send a body that would do something but for the members."""
    session = "" if operation == "create" else f"/{caller.begin()}"
    sound = _SOUND[operation]
    path = f"{caller.sessions}{session}{'/extend' if operation == 'extend' else ''}"
    method = "POST" if operation == "create" else "PUT"
    return caller.send(method, path, as_json(sound | members), JSON | headers)


@pytest.mark.parametrize(("given", "meant"), MISSPELT_PARAMETERS)
def test_a_misspelt_parameter_is_refused_and_the_one_that_is_meant_named(
    caller: Caller, given: str, meant: str
) -> None:
    caller.begin(userId="alice")
    for query in (f"?{given}=bob", f"?{given}", f"?limit=1&{given}=1" if meant != "limit" else f"?{given}=1"):
        answer = caller.list(query)
        assert answer.refusal == (400, "UNKNOWN_NAME")
        assert answer.pointers == [meant]
        assert f"{meant} is meant" in answer.problem["detail"]


@pytest.mark.parametrize("given", ["messages_limit", "messageLimit", "MessagesLimit", "messages-offset"])
def test_a_misspelt_parameter_of_a_window_is_refused(caller: Caller, given: str) -> None:
    answer = caller.get(caller.begin(), f"?{given}=1")
    assert answer.refusal == (400, "UNKNOWN_NAME")


@pytest.mark.parametrize(("operation", "given", "meant"), MEMBERS)
def test_a_misspelt_member_is_refused_and_the_one_that_is_meant_named(
    caller: Caller, operation: str, given: str, meant: str
) -> None:
    for value in (None, [message()]):
        answer = send(caller, operation, {given: value})
        assert answer.refusal == (400, "UNKNOWN_NAME")
        assert answer.pointers == [f"/{meant}"]
        assert answer.problem["detail"] == f"The body: a name is misspelt, {meant} is meant."
        assert f'"{given}"' not in answer.body.decode()
    assert [one["total_tokens"] for one in caller.list().json if one["total_tokens"]] == []


def test_a_misspelt_member_that_is_required_is_told_as_such(caller: Caller) -> None:
    answer = caller.create_raw(b'{"user_id":"bob"}')
    assert answer.refusal == (400, "UNKNOWN_NAME")
    assert answer.pointers == ["/userId"]


@pytest.mark.parametrize("name", ["unknown", "tokens", "sessionId", "modelId", "messages", "total_tokens", "", "💬"])
@pytest.mark.parametrize("operation", ["create", "update", "extend"])
def test_any_other_unknown_member_is_ignored(caller: Caller, operation: str, name: str) -> None:
    assert send(caller, operation, {name: 1}).status in {200, 201}


def test_what_another_operation_knows_is_ignored(caller: Caller) -> None:
    assert send(caller, "update", {"userId": "ada", "sessionGroup": "web", "expirationMinutes": 5}).status == 200
    assert send(caller, "extend", {"status": "completed", "newMessages": []}).status == 200
    assert send(caller, "create", {"tokensUsed": 5, "status": "completed", "newMessages": []}).status == 201
    assert caller.get(caller.begin(), "?limit=0&status=x").status == 200


def test_no_name_of_one_operation_is_taken_for_another_of_the_next() -> None:
    kinds = (CreateSession, UpdateSession, ExtendSession, ListParameters, WindowParameters)
    names = [kind.__struct_encode_fields__ for kind in kinds]
    for known in names:
        for given in names:
            KnownNames(known, "The body").check(given, strict=False)


def test_names_inside_messages_and_metadata_are_the_callers_own(caller: Caller) -> None:
    inside: dict[str, Any] = {"user_id": 1, "Role": "x", "created-at": 1, "metaData": {"new_messages": []}}
    session_id = caller.begin(metadata=inside, initialMessages=[message(**inside)])
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
def test_a_strict_caller_has_every_unknown_name_refused(caller: Caller, prefer: str) -> None:
    session_id = caller.begin()
    path, headers = f"{caller.sessions}/{session_id}", {"Prefer": prefer}
    for answer in (
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
        assert answer.refusal == (400, "UNKNOWN_NAME")
        assert answer.headers["preference-applied"] == "handling=strict"
        assert b"unknown-7" not in answer.body
    assert (
        "known are: messagesLimit, messagesOffset"
        in caller.send("GET", f"{path}?x=1", headers=headers).problem["detail"]
    )
    served = caller.send("GET", f"{caller.sessions}?limit=1&&", headers=headers)
    assert (served.status, served.headers["preference-applied"]) == (200, "handling=strict")
    assert send(caller, "update", {"title": "T"}, Prefer=prefer).headers["preference-applied"] == "handling=strict"


@pytest.mark.parametrize("prefer", NOT_PREFERRED)
def test_any_other_preference_is_ignored_and_not_confirmed(caller: Caller, prefer: str) -> None:
    answer = send(caller, "create", {"unknown": 1}, Prefer=prefer)
    assert answer.status == 201
    assert "preference-applied" not in answer.headers


def test_so_many_unknown_names_are_looked_at_and_no_more(caller: Caller) -> None:
    assert send(caller, "create", {f"unknown {number}": 1 for number in range(UNKNOWN_MAX)}).status == 201
    assert send(caller, "create", {f"unknown {number}": 1 for number in range(UNKNOWN_MAX + 1)}).refusal == (
        400,
        "UNKNOWN_NAME",
    )
    query = "&".join(f"x{number}" for number in range(UNKNOWN_MAX + 1))
    assert caller.list(f"?{query}").refusal == (400, "UNKNOWN_NAME")
    assert caller.list(f"?{'&'.join(['x'] * 1000)}").status == 200
    many = [name for number in range(25) for name in (f"user_{'_' * number}id",)]
    refused = send(caller, "create", dict.fromkeys(many, 1))
    assert refused.pointers == ["/userId"] * 20


@pytest.mark.parametrize("name", ["u" * 1_000_000, "_" * 60_000 + "userId", "a" * 65])
def test_a_name_that_is_too_long_is_not_compared(caller: Caller, name: str) -> None:
    assert send(caller, "create", {name: 1}).status == 201
