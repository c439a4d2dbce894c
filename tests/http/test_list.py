import itertools
import re
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from tests.harness.server import ServerProcess
from tests.http.calling import Answer, Caller, message, moment

LISTED = [
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
]
CROWD = 103
LINK = re.compile(r'<([^<>"\s]+)>; rel="next"')


@pytest.fixture(scope="module")
def crowd(server: ServerProcess, operator_token: str) -> Iterator[Caller]:
    """Speaks for an organisation of 103 sessions: three users, two groups, one of five completed."""
    with Caller(server.port, operator_token, f"crowd-{secrets.token_hex(8)}") as caller:
        for number in range(CROWD):
            group = {"sessionGroup": "even"} if number % 2 == 0 else {}
            model = {"model": "small"} if number % 4 == 0 else {}
            session_id = caller.begin(userId=f"user-{number % 3}", metadata={"number": number}, **group, **model)
            if number % 5 == 0:
                assert caller.update(session_id, status="completed").status == 200
        yield caller


def numbers(answer: Answer) -> list[int]:
    assert answer.status == 200, answer
    return [session["metadata"]["number"] for session in answer.json]


def next_of(answer: Answer) -> str | None:
    link = answer.headers.get("link")
    if link is None:
        return None
    found = LINK.fullmatch(link)
    assert found, link
    return found[1]


def pages(caller: Caller, query: str) -> list[Answer]:
    found = [caller.list(query)]
    while target := next_of(found[-1]):
        found.append(caller.send("GET", target))
    return found


def newest_first(*wanted: bool) -> list[int]:
    return [number for number in reversed(range(CROWD)) if wanted[number]]


def test_list_sessions_answers_a_bare_array_in_snake_case(caller: Caller) -> None:
    assert caller.list().json == []
    session_id = caller.begin(
        userId="user-1",
        sessionGroup="group",
        title="A title",
        model="a-model",
        metadata={"a": [1, {"b": None}]},
        initialMessages=[message(), message("Hi", "assistant")],
    )
    caller.update(session_id, tokensUsed=7)
    answer = caller.list()
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert type(answer.json) is list
    (session,) = answer.json
    assert list(session) == LISTED
    assert session == {
        **session,
        "id": session_id,
        "title": "A title",
        "model": "a-model",
        "user_id": "user-1",
        "session_group": "group",
        "status": "active",
        "total_messages": 2,
        "total_tokens": 7,
        "metadata": {"a": [1, {"b": None}]},
    }
    assert moment(session["created_at"]) <= moment(session["updated_at"]) < moment(session["expires_at"])


def test_list_sessions_never_carries_messages_nor_leaves_a_member_out(caller: Caller) -> None:
    caller.begin(initialMessages=[message("a secret")])
    caller.begin()
    answer = caller.list()
    assert b"a secret" not in answer.body.replace(b'"title":"a secret"', b"")
    assert [list(session) for session in answer.json] == [LISTED, LISTED]
    assert (answer.json[0]["title"], answer.json[0]["model"], answer.json[0]["session_group"]) == (None, None, None)


def test_list_sessions_tells_of_a_session_what_get_session_tells(caller: Caller) -> None:
    session_id = caller.begin(initialMessages=[message()], metadata={"a": 1}, sessionGroup="g", model="m")
    caller.update(session_id, tokensUsed=5, status="completed")
    (listed,) = caller.list().json
    read = caller.read(session_id)
    del read["messages"]
    assert listed == read


def test_list_sessions_is_newest_first_and_fifty_long_unless_told(crowd: Caller) -> None:
    answer = crowd.list()
    assert numbers(answer) == list(range(CROWD - 1, CROWD - 51, -1))
    keys = [(session["created_at"], session["id"]) for session in answer.json]
    assert keys == sorted(keys, reverse=True)
    assert answer.body == crowd.list("?limit=50").body


@pytest.mark.parametrize("limit", [1, 2, 50, 99, 100])
def test_list_sessions_holds_at_most_as_many_as_told(crowd: Caller, limit: int) -> None:
    assert numbers(crowd.list(f"?limit={limit}")) == list(range(CROWD - 1, CROWD - 1 - limit, -1))


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("userId=user-1", [number % 3 == 1 for number in range(CROWD)]),
        ("sessionGroup=even", [number % 2 == 0 for number in range(CROWD)]),
        ("model=small", [number % 4 == 0 for number in range(CROWD)]),
        ("status=completed", [number % 5 == 0 for number in range(CROWD)]),
        ("status=active", [number % 5 != 0 for number in range(CROWD)]),
        ("userId=user-2&sessionGroup=even", [number % 6 == 2 for number in range(CROWD)]),
        ("userId=user-0&model=small", [number % 12 == 0 for number in range(CROWD)]),
        (
            "sessionGroup=even&model=small&status=active",
            [number % 4 == 0 and number % 5 > 0 for number in range(CROWD)],
        ),
        ("userId=user-0&sessionGroup=even&model=small&status=completed", [number % 60 == 0 for number in range(CROWD)]),
        ("userId=user", [False] * CROWD),
        ("userId=USER-1", [False] * CROWD),
        ("userId=user-1%20", [False] * CROWD),
        ("userId=user-%25", [False] * CROWD),
        ("model=null", [False] * CROWD),
        ("userId=user-1&sessionGroup=odd", [False] * CROWD),
    ],
)
@pytest.mark.parametrize("limit", [4, 100])
def test_list_sessions_filters_exactly_and_pages_never_overlap_or_skip(
    crowd: Caller, query: str, wanted: list[bool], limit: int
) -> None:
    by_cursor = pages(crowd, f"?{query}&limit={limit}")
    found = list(itertools.chain.from_iterable(map(numbers, by_cursor)))
    assert found == newest_first(*wanted)
    assert [len(page.json) for page in by_cursor[:-1]] == [limit] * (len(by_cursor) - 1)
    by_offset = [numbers(crowd.list(f"?{query}&limit={limit}&offset={first}")) for first in range(0, CROWD, limit)]
    assert list(itertools.chain.from_iterable(by_offset)) == found


def test_list_sessions_links_to_the_next_page_only_while_rows_follow(caller: Caller) -> None:
    for _ in range(3):
        caller.begin()
    assert next_of(caller.list("?limit=2")) is not None
    assert next_of(caller.list("?limit=3")) is None
    assert next_of(caller.list("?limit=4")) is None
    assert next_of(caller.list("?limit=1&offset=1")) is not None
    assert next_of(caller.list("?limit=2&offset=1")) is None
    assert next_of(caller.list()) is None


@pytest.mark.parametrize("spelling", ["organizations", "organisations"])
def test_list_sessions_links_relatively_repeating_spelling_filters_and_limit(caller: Caller, spelling: str) -> None:
    odd = "ä &=#+%/?;💬'\"<>"
    for _ in range(3):
        caller.begin(userId=odd, sessionGroup=odd, model=odd)
    caller.begin(userId="another", sessionGroup=odd, model=odd)
    asked = {"userId": odd, "sessionGroup": odd, "model": odd, "status": "active", "limit": "2"}
    query = "&".join(f"{name}={quote(value)}" for name, value in asked.items())
    other = caller.spelled(spelling)
    answer = other.list(f"?{query}&unknown=x")
    target = next_of(answer)
    assert target is not None
    parts = urlsplit(target)
    assert (parts.scheme, parts.netloc, parts.path) == ("", "", other.sessions)
    given = dict(parse_qsl(parts.query, strict_parsing=True))
    assert given.pop("cursor")
    assert given == asked
    following = other.send("GET", target)
    assert len(following.json) == 1
    assert len({session["id"] for session in answer.json + following.json}) == 3
    assert next_of(following) is None


def test_list_sessions_goes_on_from_an_offset_by_cursor(crowd: Caller) -> None:
    answers = pages(crowd, "?limit=40&offset=10")
    assert list(itertools.chain.from_iterable(map(numbers, answers))) == list(range(CROWD - 11, -1, -1))
    assert all("offset" not in target for target in map(next_of, answers) if target)


@pytest.mark.parametrize(("offset", "left"), [(0, 50), (102, 1), (103, 0), (5000, 0), (2147483647, 0)])
def test_list_sessions_past_the_end_is_empty(crowd: Caller, offset: int, left: int) -> None:
    assert len(crowd.list(f"?offset={offset}").json) == left


def test_list_sessions_by_cursor_is_steady_while_sessions_come_and_go(caller: Caller) -> None:
    ids = [caller.begin() for _ in range(9)][::-1]
    first = caller.list("?limit=3")
    caller.begin()
    caller.delete(ids[0])
    caller.delete(ids[2])
    second = caller.send("GET", str(next_of(first)))
    caller.delete(ids[5])
    caller.begin()
    third = caller.send("GET", str(next_of(second)))
    assert [session["id"] for answer in (first, second, third) for session in answer.json] == ids


def test_list_sessions_with_cursor_and_offset_is_400(crowd: Caller) -> None:
    target = next_of(crowd.list("?limit=2"))
    for offset in (0, 2):
        answer = crowd.send("GET", f"{target}&offset={offset}")
        assert answer.refusal == (400, "INVALID_PARAMETER")


@pytest.mark.parametrize(
    "cursor",
    ["x", "abc", "A" * 21, "A" * 23, "A" * 22 + "==", "A" * 21 + "B", "%C3%A4" * 22, "A" * 65, "....", "1", "-", "%00"],
)
def test_list_sessions_with_a_cursor_that_cannot_be_read_is_400(crowd: Caller, cursor: str) -> None:
    answer = crowd.list(f"?cursor={cursor}")
    assert answer.status == 400
    assert answer.problem["code"] in {"INVALID_CURSOR", "INVALID_PARAMETER"}
    assert answer.pointers == ["cursor"]


def test_list_sessions_with_a_cursor_shows_no_other_organisations_rows(crowd: Caller, caller: Caller) -> None:
    mine = caller.begin()
    theirs = str(next_of(crowd.list("?limit=2")))
    query = urlsplit(theirs).query
    assert {session["id"] for session in caller.list(f"?{query}").json} <= {mine}
    assert numbers(crowd.list(f"?{query}")) == [CROWD - 3, CROWD - 4]


def test_list_sessions_lists_completed_sessions_too(caller: Caller) -> None:
    completed, active = caller.begin(), caller.begin()
    caller.update(completed, status="completed")
    ids: Any = [session["id"] for session in caller.list().json]
    assert ids == [active, completed]
