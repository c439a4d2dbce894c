"""Every bound of the contract: accepted at the bound, refused one beyond it, with nothing changed by the error."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.http.callers import JSON, Caller, Response, as_json, message, unknown_id
from tests.http.raw_connection import RawConnection, chunked, head

KIB = 1024
MIB = 1024 * KIB
FULL = (413, "SESSION_FULL")


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def padded(size: int) -> bytes:
    """Make a body of this size that creates a session."""
    return b'{"userId":"someone"}'.ljust(size)


def message_of(size: int, letter: str = "x") -> dict[str, str]:
    """Make a message of this many bytes of JSON."""
    bare = len(compact(message("")))
    return message(letter * ((size - bare) // len(letter.encode())))


@pytest.mark.parametrize(("field", "most"), [("userId", 256), ("sessionGroup", 256), ("model", 256), ("title", 512)])
@pytest.mark.parametrize("letter", ["x", "é", "💬"])
def test_a_text_is_counted_in_code_points(caller: Caller, field: str, most: int, letter: str) -> None:
    name = {"userId": "user_id", "sessionGroup": "session_group"}.get(field, field)
    assert caller.read(caller.new_session(**{field: letter}))[name] == letter
    session = caller.read(caller.new_session(**{field: letter * most}))
    assert session[name] == letter * most
    response = caller.create(**{field: letter * (most + 1)})
    assert response.error == (400, "INVALID_REQUEST")
    assert response.pointers == [f"/{field}"]


def test_a_filter_may_have_the_maximum_length(caller: Caller) -> None:
    longest = "💬" * 256
    session_id = caller.new_session(userId=longest, sessionGroup=longest, model=longest)
    query = "&".join(f"{name}={quote(longest)}" for name in ("userId", "sessionGroup"))
    assert [session["id"] for session in caller.list(f"?{query}").json] == [session_id]
    assert [session["id"] for session in caller.list(f"?model={quote(longest)}").json] == [session_id]


@pytest.mark.parametrize("field", ["title", "model"])
def test_a_text_of_an_update_has_the_same_bound(caller: Caller, field: str) -> None:
    most = {"title": 512, "model": 256}[field]
    session_id = caller.new_session()
    assert caller.update(session_id, **{field: "💬" * most}).status == 200
    assert caller.update(session_id, **{field: "x" * (most + 1)}).pointers == [f"/{field}"]
    assert caller.read(session_id)[field] == "💬" * most


def test_a_body_holds_8_mib_and_no_more(caller: Caller) -> None:
    assert caller.create_raw(padded(8 * MIB)).status == 201
    assert caller.create_raw(padded(8 * MIB + 1)).error == (413, "BODY_TOO_LARGE")
    assert caller.update_raw(caller.new_session(), b"{}".ljust(8 * MIB)).status == 200
    assert caller.extend_raw(caller.new_session(), b" " * (8 * MIB + 1)).error == (413, "BODY_TOO_LARGE")
    assert len(caller.list().json) == 3


def test_a_body_in_chunks_holds_8_mib_and_no_more(caller: Caller) -> None:
    headers = {"Authorization": f"Bearer {caller.token}", "Transfer-Encoding": "chunked", **JSON}
    with RawConnection(caller.port) as connection:
        for body, status in ((padded(8 * MIB), 201), (padded(8 * MIB + 1), 413), (padded(100), 201)):
            connection.send(head("POST", caller.sessions, headers), *chunked(body))
            assert connection.receive().status == status
    assert len(caller.list().json) == 2


def test_a_body_with_too_large_a_content_length_is_refused_before_it_is_sent(
    caller: Caller, connection: RawConnection
) -> None:
    headers = {"Authorization": f"Bearer {caller.token}", "Content-Length": str(8 * MIB + 1), **JSON}
    connection.send(head("POST", caller.sessions, headers))
    assert connection.receive().error == (413, "BODY_TOO_LARGE")
    connection.send(padded(8 * MIB + 1))
    connection.send(head("GET", caller.sessions, {"Authorization": f"Bearer {caller.token}"}))
    assert connection.receive().json == []


def sized_request(caller: Caller, size: int) -> bytes:
    """Encode a list request whose headers have this many bytes, colons, spaces and line ends included."""
    headers = {"Authorization": f"Bearer {caller.token}", "X-Filler": ""}
    whole = {"Host": "here", **headers}
    headers["X-Filler"] = "x" * (size - sum(len(name) + len(value) + 4 for name, value in whole.items()))
    return head("GET", caller.sessions, headers)


def test_headers_hold_32_kib_together_and_no_more(caller: Caller, connection: RawConnection) -> None:
    connection.send(sized_request(caller, 32 * KIB))
    assert connection.receive().status == 200
    connection.send(sized_request(caller, 32 * KIB + 1))
    assert connection.receive().error == (431, "HEADERS_TOO_LARGE")
    connection.send(sized_request(caller, 59 * KIB))
    assert connection.receive().error == (431, "HEADERS_TOO_LARGE")
    connection.send(sized_request(caller, 1 * KIB))
    assert connection.receive().status == 200
    connection.send(sized_request(caller, 250 * KIB))
    response = connection.receive()
    assert response.error == (431, "HEADERS_TOO_LARGE")
    assert response.headers["connection"] == "close"
    assert connection.rest() == b""


def test_many_small_headers_count_together(caller: Caller) -> None:
    few = {f"X-{number}": "y" * 20 for number in range(1_000)}
    assert caller.send("GET", caller.sessions, headers=few).status == 200
    many = {f"X-{number}": "y" * 20 for number in range(1_300)}
    assert caller.send("GET", caller.sessions, headers=many).error == (431, "HEADERS_TOO_LARGE")


def test_a_query_string_holds_8_kib_and_no_more(caller: Caller) -> None:
    session_id = caller.new_session()
    for path in (caller.sessions, f"{caller.sessions}/{session_id}"):
        filler = "filler="
        assert caller.send("GET", f"{path}?{filler.ljust(8 * KIB, 'x')}").status == 200
        assert caller.send("GET", f"{path}?{filler.ljust(8 * KIB + 1, 'x')}").error == (414, "QUERY_TOO_LONG")
    long = "?" + "x" * (8 * KIB + 1)
    assert caller.send("POST", caller.sessions + long, padded(100), JSON).error == (414, "QUERY_TOO_LONG")
    assert caller.send("DELETE", f"{caller.sessions}/{session_id}{long}").error == (414, "QUERY_TOO_LONG")
    assert caller.get(session_id).status == 200


@pytest.mark.parametrize("letter", ["x", "💬", '"'])
def test_metadata_holds_64_kib_of_json_and_no_more(caller: Caller, letter: str) -> None:
    spare = 64 * KIB - len(compact({"a": ""}))
    text = letter * (spare // len(compact(letter)[1:-1]))
    text += "x" * (64 * KIB - len(compact({"a": text})))
    session_id = caller.new_session(metadata={"a": text})
    assert caller.read(session_id)["metadata"] == {"a": text}
    assert caller.create(metadata={"a": text + "x"}).error == (400, "METADATA_TOO_LARGE")
    assert caller.update(caller.new_session(), metadata={"a": text}).status == 200
    assert caller.update(caller.new_session(), metadata={"a": text + "x"}).error == (400, "METADATA_TOO_LARGE")


def test_metadata_is_measured_after_the_merge(caller: Caller) -> None:
    half = "x" * (32 * KIB - 10)
    session_id = caller.new_session(metadata={"a": half, "b": half})
    before = caller.get(session_id).body
    response = caller.update(session_id, metadata={"c": half}, newMessages=[message()], tokensUsed=1, title="Another")
    assert response.error == (400, "METADATA_TOO_LARGE")
    assert caller.get(session_id).body == before
    assert caller.update(session_id, metadata={"c": half, "a": None}).status == 200
    assert caller.read(session_id)["metadata"].keys() == {"b", "c"}


def test_metadata_is_measured_without_white_space_and_escapes(caller: Caller) -> None:
    spread = b'{"userId":"a","metadata":{%b"a" : "%b"}}' % (b" " * 64 * KIB, b"\\u0078" * 20 * KIB)
    response = caller.create_raw(spread)
    assert caller.read(response.json["sessionId"])["metadata"] == {"a": "x" * 20 * KIB}


def test_a_request_holds_1000_messages_and_no_more(caller: Caller) -> None:
    session_id = caller.new_session(initialMessages=[message(str(number)) for number in range(1_000)])
    response = caller.create(initialMessages=[message()] * 1_001)
    assert response.error == (400, "INVALID_REQUEST")
    assert response.pointers == ["/initialMessages"]
    assert caller.update(session_id, newMessages=[message()] * 1_001).pointers == ["/newMessages"]
    assert caller.update(session_id, newMessages=[message()] * 1_000).json["totalMessages"] == 2_000
    contents = [stored["content"] for stored in caller.read(session_id)["messages"]]
    assert contents == [*map(str, range(1_000)), *["Hello"] * 1_000]
    window = caller.get(session_id, "?messagesLimit=1000").json
    assert (len(window["messages"]), window["messages_offset"]) == (1_000, 1_000)


@pytest.mark.parametrize("letter", ["x", "💬"])
def test_a_message_holds_1_mib_of_json_and_no_more(caller: Caller, letter: str) -> None:
    largest = message_of(MIB, letter)
    largest["content"] += "x" * (MIB - len(compact(largest)))
    session_id = caller.new_session(initialMessages=[largest])
    larger = {**largest, "content": largest["content"] + "x"}
    for response in (
        caller.create(initialMessages=[message(), larger]),
        caller.update(session_id, newMessages=[message(), larger]),
    ):
        assert response.error == (400, "INVALID_REQUEST")
        assert response.pointers[0].endswith("Messages/1")
    assert caller.read(session_id)["messages"][0]["content"] == largest["content"]


def fill(caller: Caller, session_id: str, count: int, each: int) -> Response:
    return caller.update_raw(session_id, as_json({"newMessages": [message_of(each)] * count, "tokensUsed": 1}))


def test_a_session_holds_16_mib_of_messages_and_no_more(caller: Caller) -> None:
    session_id = caller.new_session()
    for _ in range(3):
        assert fill(caller, session_id, 5, MIB).status == 200
    before = caller.get(session_id, "?messagesLimit=1").body
    assert fill(caller, session_id, 2, MIB).error == FULL
    assert fill(caller, session_id, 7, MIB).error == FULL
    assert caller.get(session_id, "?messagesLimit=1").body == before
    assert fill(caller, session_id, 1, 900 * KIB).json["totalMessages"] == 16
    assert fill(caller, session_id, 1, 200 * KIB).error == FULL
    assert caller.update(session_id, metadata={"still": "changeable"}).status == 200
    assert caller.extend(session_id).status == 200
    assert len(caller.get(session_id).body) > 15 * MIB


def test_a_session_holds_100000_messages_and_no_more(caller: Caller) -> None:
    session_id = caller.new_session(initialMessages=[message("first")])
    thousand = as_json({"newMessages": [message("")] * 1_000})
    for _ in range(99):
        assert caller.update_raw(session_id, thousand).status == 200
    assert caller.update_raw(session_id, thousand).error == FULL
    assert caller.update(session_id, newMessages=[message("")] * 999).json["totalMessages"] == 100_000
    before = caller.get(session_id, "?messagesLimit=1").body
    response = caller.update(session_id, newMessages=[message("one more")], tokensUsed=1, status="completed")
    assert response.error == FULL
    assert caller.get(session_id, "?messagesLimit=1").body == before
    assert caller.update(session_id, tokensUsed=1, newMessages=[]).json["totalTokens"] == 1
    assert caller.get(session_id, "?messagesOffset=99999").json["messages"][0]["content"] == ""
    assert caller.get(session_id, "?messagesOffset=0&messagesLimit=1").json["messages"][0]["content"] == "first"


def test_bounds_are_checked_before_the_session_is_looked_up(caller: Caller) -> None:
    assert caller.update(unknown_id(), newMessages=[message_of(MIB + 1)]).status == 400
    assert caller.update_raw(unknown_id(), padded(8 * MIB + 1)).status == 413
    assert fill(caller, unknown_id(), 1, MIB).status == 404


@pytest.mark.parametrize(
    ("fields", "pointer", "contents"),
    [
        ({"userId": None}, "/userId", "must be a string of 1 to 256 characters."),
        ({"userId": 5}, "/userId", "must be a string of 1 to 256 characters."),
        ({"userId": ""}, "/userId", "must have at least 1 character."),
        ({"userId": "x" * 257}, "/userId", "must have at most 256 characters."),
        ({"userId": "a\n"}, "/userId", "must not contain control characters."),
        ({"title": "x" * 513}, "/title", "must have at most 512 characters."),
        ({"title": ["T"]}, "/title", "must be a string of 1 to 512 characters."),
        ({"metadata": 5}, "/metadata", "must be an object."),
        ({"metadata": [1]}, "/metadata", "must be an object."),
        ({"metadata": {"a": "\0"}}, "/metadata", "must not contain the NUL character."),
        ({"metadata": {"a": "x" * 65_536}}, "/metadata", "A session's metadata takes at most 65536 bytes of JSON."),
        ({"expirationMinutes": 4}, "/expirationMinutes", "must be at least 5."),
        ({"expirationMinutes": 1441}, "/expirationMinutes", "must be at most 1440."),
        ({"expirationMinutes": "60"}, "/expirationMinutes", "must be an integer from 5 to 1440."),
        ({"expirationMinutes": True}, "/expirationMinutes", "must be an integer from 5 to 1440."),
        ({"initialMessages": {}}, "/initialMessages", "must be an array of objects."),
        ({"initialMessages": [{"role": "user", "content": "a"}, 5]}, "/initialMessages/1", "must be an object."),
        ({"initialMessages": [{}] * 1001}, "/initialMessages", "must have at most 1000 items."),
        ({"initialMessages": [{"role": "user", "content": {}}]}, "/initialMessages/0/content", "must be a string or"),
        ({"createdAt": 5}, "/createdAt", "must be a string."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_create_session_errors_say_where_and_what_is_allowed(
    caller: Caller, fields: dict[str, Any], pointer: str, contents: str
) -> None:
    (fault,) = caller.create(**fields).problem["errors"]
    assert fault["pointer"] == pointer
    assert fault["detail"].startswith(contents)


def test_an_error_names_the_missing_member(caller: Caller) -> None:
    problem = caller.create_raw(b"{}").problem
    assert problem["errors"] == [{"pointer": "/userId", "detail": "is required."}]
    assert problem["detail"] == "/userId: is required."


def test_update_session_and_extend_session_errors_say_where_and_what_is_allowed(caller: Caller) -> None:
    session_id = caller.new_session()
    assert caller.update(session_id, status="open").problem["errors"] == [
        {"pointer": "/status", "detail": "must be one of: active, completed."}
    ]
    assert caller.update(session_id, status=5).problem["errors"] == [
        {"pointer": "/status", "detail": "must be one of: active, completed."}
    ]
    assert caller.update(session_id, tokensUsed=-1).problem["errors"][0]["detail"] == "must be at least 0."
    assert caller.update(session_id, tokensUsed=1.0).problem["errors"] == [
        {"pointer": "/tokensUsed", "detail": "must be an integer from 0 to 2147483647."}
    ]
    caller.update(session_id, tokensUsed=2147483647)
    assert caller.update(session_id, tokensUsed=1).pointers == ["/tokensUsed"]
    assert caller.extend(session_id, additionalMinutes=0).problem["errors"] == [
        {"pointer": "/additionalMinutes", "detail": "must be at least 1."}
    ]
    responses = [caller.extend(session_id, additionalMinutes=1440) for _ in range(31)]
    assert (responses[-1].error, responses[-1].pointers) == ((400, "EXPIRY_TOO_FAR"), ["/additionalMinutes"])
    assert caller.update_raw(session_id, b"[]").problem["errors"] == [
        {"pointer": "", "detail": "must be a JSON object."}
    ]
