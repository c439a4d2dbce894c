import itertools
import re
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from tests.harness.server import ServerProcess
from tests.http.callers import Caller, Response, message, parse_timestamp

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
    """A caller for an organisation with 103 sessions: three users, two groups, every fifth completed."""
    with Caller(server.port, operator_token, f"crowd-{secrets.token_hex(8)}") as caller:
        for number in range(CROWD):
            group = {"sessionGroup": "even"} if number % 2 == 0 else {}
            model = {"model": "small"} if number % 4 == 0 else {}
            session_id = caller.new_session(userId=f"user-{number % 3}", metadata={"number": number}, **group, **model)
            if number % 5 == 0:
                assert caller.update(session_id, status="completed").status == 200
        yield caller


def numbers(response: Response) -> list[int]:
    assert response.status == 200, response
    return [session["metadata"]["number"] for session in response.json]


def next_of(response: Response) -> str | None:
    link = response.headers.get("link")
    if link is None:
        return None
    found = LINK.fullmatch(link)
    assert found, link
    return found[1]


def pages(caller: Caller, query: str) -> list[Response]:
    found = [caller.list(query)]
    while target := next_of(found[-1]):
        found.append(caller.send("GET", target))
    return found


def newest_first(*wanted: bool) -> list[int]:
    return [number for number in reversed(range(CROWD)) if wanted[number]]


def test_list_sessions_returns_a_bare_array_in_snake_case(caller: Caller) -> None:
    assert caller.list().json == []
    session_id = caller.new_session(
        userId="user-1",
        sessionGroup="group",
        title="A title",
        model="a-model",
        metadata={"a": [1, {"b": None}]},
        initialMessages=[message(), message("Hi", "assistant")],
    )
    caller.update(session_id, tokensUsed=7)
    response = caller.list()
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert type(response.json) is list
    (session,) = response.json
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
    assert (
        parse_timestamp(session["created_at"])
        <= parse_timestamp(session["updated_at"])
        < parse_timestamp(session["expires_at"])
    )


def test_list_sessions_returns_no_messages_and_omits_no_member(caller: Caller) -> None:
    caller.new_session(initialMessages=[message("a secret")])
    caller.new_session()
    response = caller.list()
    assert b"a secret" not in response.body.replace(b'"title":"a secret"', b"")
    assert [list(session) for session in response.json] == [LISTED, LISTED]
    assert (response.json[0]["title"], response.json[0]["model"], response.json[0]["session_group"]) == (
        None,
        None,
        None,
    )


def test_list_sessions_returns_the_same_members_as_get_session(caller: Caller) -> None:
    session_id = caller.new_session(initialMessages=[message()], metadata={"a": 1}, sessionGroup="g", model="m")
    caller.update(session_id, tokensUsed=5, status="completed")
    (listed,) = caller.list().json
    read = caller.read(session_id)
    del read["messages"]
    assert listed == read


def test_list_sessions_is_newest_first_with_fifty_by_default(crowd: Caller) -> None:
    response = crowd.list()
    assert numbers(response) == list(range(CROWD - 1, CROWD - 51, -1))
    keys = [(session["created_at"], session["id"]) for session in response.json]
    assert keys == sorted(keys, reverse=True)
    assert response.body == crowd.list("?limit=50").body


@pytest.mark.parametrize("limit", [1, 2, 50, 99, 100])
def test_list_sessions_returns_at_most_the_limit(crowd: Caller, limit: int) -> None:
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
        caller.new_session()
    assert next_of(caller.list("?limit=2")) is not None
    assert next_of(caller.list("?limit=3")) is None
    assert next_of(caller.list("?limit=4")) is None
    assert next_of(caller.list("?limit=1&offset=1")) is not None
    assert next_of(caller.list("?limit=2&offset=1")) is None
    assert next_of(caller.list()) is None


@pytest.mark.parametrize("variant", ["organizations", "organisations"])
def test_list_sessions_links_are_relative_with_path_variant_filters_and_limit(caller: Caller, variant: str) -> None:
    odd = "ä &=#+%/?;💬'\"<>"
    for _ in range(3):
        caller.new_session(userId=odd, sessionGroup=odd, model=odd)
    caller.new_session(userId="another", sessionGroup=odd, model=odd)
    filters = {"userId": odd, "sessionGroup": odd, "model": odd, "status": "active", "limit": "2"}
    query = "&".join(f"{name}={quote(value)}" for name, value in filters.items())
    other = caller.with_path_variant(variant)
    response = other.list(f"?{query}&unknown=x")
    target = next_of(response)
    assert target is not None
    parts = urlsplit(target)
    assert (parts.scheme, parts.netloc, parts.path) == ("", "", other.sessions)
    given = dict(parse_qsl(parts.query, strict_parsing=True))
    assert given.pop("cursor")
    assert given == filters
    following = other.send("GET", target)
    assert len(following.json) == 1
    assert len({session["id"] for session in response.json + following.json}) == 3
    assert next_of(following) is None


def test_list_sessions_continues_from_an_offset_by_cursor(crowd: Caller) -> None:
    responses = pages(crowd, "?limit=40&offset=10")
    assert list(itertools.chain.from_iterable(map(numbers, responses))) == list(range(CROWD - 11, -1, -1))
    assert all("offset" not in target for target in map(next_of, responses) if target)


@pytest.mark.parametrize(("offset", "left"), [(0, 50), (102, 1), (103, 0), (5000, 0), (2147483647, 0)])
def test_list_sessions_past_the_end_is_empty(crowd: Caller, offset: int, left: int) -> None:
    assert len(crowd.list(f"?offset={offset}").json) == left


def test_list_sessions_by_cursor_is_stable_while_sessions_come_and_go(caller: Caller) -> None:
    ids = [caller.new_session() for _ in range(9)][::-1]
    first = caller.list("?limit=3")
    caller.new_session()
    caller.delete(ids[0])
    caller.delete(ids[2])
    second = caller.send("GET", str(next_of(first)))
    caller.delete(ids[5])
    caller.new_session()
    third = caller.send("GET", str(next_of(second)))
    assert [session["id"] for response in (first, second, third) for session in response.json] == ids


def test_list_sessions_with_cursor_and_offset_is_400(crowd: Caller) -> None:
    target = next_of(crowd.list("?limit=2"))
    for offset in (0, 2):
        response = crowd.send("GET", f"{target}&offset={offset}")
        assert response.error == (400, "INVALID_PARAMETER")


@pytest.mark.parametrize(
    "cursor",
    ["x", "abc", "A" * 21, "A" * 23, "A" * 22 + "==", "A" * 21 + "B", "%C3%A4" * 22, "A" * 65, "....", "1", "-", "%00"],
)
def test_list_sessions_with_an_invalid_cursor_is_400(crowd: Caller, cursor: str) -> None:
    response = crowd.list(f"?cursor={cursor}")
    assert response.status == 400
    assert response.problem["code"] in {"INVALID_CURSOR", "INVALID_PARAMETER"}
    assert response.pointers == ["cursor"]


def test_list_sessions_with_a_cursor_returns_no_other_organisations_sessions(crowd: Caller, caller: Caller) -> None:
    mine = caller.new_session()
    theirs = str(next_of(crowd.list("?limit=2")))
    query = urlsplit(theirs).query
    assert {session["id"] for session in caller.list(f"?{query}").json} <= {mine}
    assert numbers(crowd.list(f"?{query}")) == [CROWD - 3, CROWD - 4]


def test_list_sessions_includes_completed_sessions(caller: Caller) -> None:
    completed, active = caller.new_session(), caller.new_session()
    caller.update(completed, status="completed")
    ids: Any = [session["id"] for session in caller.list().json]
    assert ids == [active, completed]
