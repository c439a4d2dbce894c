import pytest

from tests.http.callers import Caller, message, parse_timestamp, unknown_id

MEMBERS = [
    "id",
    "title",
    "model",
    "created_at",
    "updated_at",
    "user_id",
    "session_group",
    "status",
    "total_messages",
    "total_tokens",
    "expires_at",
    "metadata",
    "messages",
]


def test_get_session_returns_200_in_snake_case(caller: Caller) -> None:
    created = caller.create(initialMessages=[message("Hello")]).json
    response = caller.get(created["sessionId"])
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert list(response.json) == MEMBERS
    assert response.json["id"] == created["sessionId"]
    assert response.json["created_at"] == created["createdAt"]
    assert response.json["expires_at"] == created["expiresAt"]
    assert parse_timestamp(response.json["updated_at"]) == parse_timestamp(created["createdAt"])


def test_get_session_omits_no_member(caller: Caller) -> None:
    session = caller.read(caller.new_session())
    assert list(session) == MEMBERS
    assert (session["title"], session["model"], session["session_group"]) == (None, None, None)
    assert (session["messages"], session["metadata"]) == ([], {})
    assert (session["total_messages"], session["total_tokens"]) == (0, 0)


def test_get_session_returns_totals_as_integers(caller: Caller) -> None:
    session_id = caller.new_session(initialMessages=[message()])
    caller.update(session_id, tokensUsed=2147483647)
    response = caller.get(session_id)
    assert b'"total_messages":1,"total_tokens":2147483647' in response.body


def test_get_session_returns_messages_in_append_order_with_their_times(caller: Caller) -> None:
    session_id = caller.new_session(initialMessages=[message(f"0.{number}") for number in range(3)])
    for turn in range(1, 4):
        caller.update(session_id, newMessages=[message(f"{turn}.{number}", "assistant") for number in range(2)])
    session = caller.read(session_id)
    contents = [stored["content"] for stored in session["messages"]]
    assert contents == ["0.0", "0.1", "0.2", "1.0", "1.1", "2.0", "2.1", "3.0", "3.1"]
    times = [parse_timestamp(stored["created_at"]) for stored in session["messages"]]
    assert times == sorted(times)
    assert times[0] == parse_timestamp(session["created_at"])
    assert times[-1] == parse_timestamp(session["updated_at"])
    assert len(set(times[:3])) == 1


def test_get_session_of_an_unknown_id_is_404(caller: Caller) -> None:
    response = caller.get(unknown_id())
    assert response.error == (404, "SESSION_NOT_FOUND")
    assert "errors" not in response.problem


CONTENTS = list("abcdefg")


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ("messagesLimit=3", 4, 7),
        ("messagesLimit=1", 6, 7),
        ("messagesLimit=7", 0, 7),
        ("messagesLimit=1000", 0, 7),
        ("messagesOffset=0", 0, 7),
        ("messagesOffset=2", 2, 7),
        ("messagesOffset=6", 6, 7),
        ("messagesOffset=0&messagesLimit=2", 0, 2),
        ("messagesOffset=1&messagesLimit=3", 1, 4),
        ("messagesLimit=3&messagesOffset=3", 3, 6),
        ("messagesOffset=5&messagesLimit=100", 5, 7),
        ("messagesOffset=7", 7, 7),
        ("messagesOffset=7&messagesLimit=1", 7, 7),
        ("messagesOffset=2147483647", 7, 7),
    ],
)
def test_get_session_with_a_window_returns_its_messages_and_offset(
    caller: Caller, query: str, start: int, end: int
) -> None:
    session_id = caller.new_session(initialMessages=[message(letter) for letter in CONTENTS[:2]])
    caller.update(session_id, newMessages=[message(letter) for letter in CONTENTS[2:5]])
    caller.update(session_id, newMessages=[message(letter) for letter in CONTENTS[5:]])
    whole = caller.read(session_id)
    response = caller.get(session_id, f"?{query}")
    assert response.status == 200
    assert list(response.json) == [*MEMBERS, "messages_offset"]
    assert response.json["messages"] == whole["messages"][start:end]
    assert [stored["content"] for stored in response.json["messages"]] == CONTENTS[start:end]
    assert response.json["messages_offset"] == start
    assert response.json["total_messages"] == 7


@pytest.mark.parametrize("query", ["messagesLimit=5", "messagesOffset=0", "messagesOffset=3&messagesLimit=1"])
def test_get_session_with_a_window_on_no_messages_is_empty(caller: Caller, query: str) -> None:
    response = caller.get(caller.new_session(), f"?{query}")
    assert response.json["messages"] == []
    assert response.json["messages_offset"] == 0


def test_get_session_changes_nothing(caller: Caller) -> None:
    session_id = caller.new_session(initialMessages=[message()])
    assert caller.get(session_id).body == caller.get(session_id).body
