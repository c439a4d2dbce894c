"""Invalid query parameters are 400 and named; unknown ones are ignored."""

from urllib.parse import quote

import pytest

from tests.http.callers import Caller, message

LIST = ["userId", "sessionGroup", "model", "status", "limit", "offset", "cursor"]
TEXTS = ["userId", "sessionGroup", "model"]
CONTROLS = ["\0", "\x01", "\t", "\n", "\r", "\x1f", "\x7f", "\x80", "\x85", "\x9f"]


@pytest.mark.parametrize("name", LIST)
def test_an_empty_list_parameter_is_400(caller: Caller, name: str) -> None:
    for query in (f"?{name}=", f"?{name}", f"?{name}&userId=a", f"?model=a&{name}="):
        response = caller.list(query)
        assert response.error == (400, "INVALID_PARAMETER")
        assert name in response.pointers


@pytest.mark.parametrize("query", ["messagesLimit=", "messagesOffset=", "messagesLimit", "messagesOffset"])
def test_an_empty_window_parameter_is_400(caller: Caller, query: str) -> None:
    response = caller.get(caller.new_session(), f"?{query}")
    assert response.error == (400, "INVALID_PARAMETER")
    assert response.pointers == [query.rstrip("=")]


@pytest.mark.parametrize(
    "query",
    [
        "limit=1&limit=1",
        "limit=1&limit=2",
        "limit=1&%6Cimit=1",
        "userId=a&model=b&userId=a",
        "offset=0&offset=0",
        "status=active&status=active",
    ],
)
def test_a_repeated_parameter_is_400(caller: Caller, query: str) -> None:
    response = caller.list(f"?{query}")
    assert response.error == (400, "INVALID_PARAMETER")
    assert response.pointers in (["limit"], ["userId"], ["offset"], ["status"])


def test_a_repeated_window_parameter_is_400(caller: Caller) -> None:
    session_id = caller.new_session()
    assert caller.get(session_id, "?messagesLimit=1&messagesLimit=1").pointers == ["messagesLimit"]
    assert caller.get(session_id, "?messagesOffset=1&messagesOffset=2").pointers == ["messagesOffset"]


NOT_INTEGERS = [
    "a",
    "1.0",
    "1e1",
    "0x10",
    "-1",
    "%2B1",
    "+1",
    "1+",
    "1%20",
    "1,0",
    "1_0",
    "%D9%A1",
    "true",
    "null",
    "%00",
    "1%00",
]


@pytest.mark.parametrize(
    ("query", "pointer", "detail"),
    [
        ("limit=-5", "limit", "must be at least 1."),
        ("limit=0", "limit", "must be at least 1."),
        ("limit=101", "limit", "must be at most 100."),
        (f"limit={'9' * 4000}", "limit", "must be at most 100."),
        (f"limit=-{'9' * 4000}", "limit", "must be at least 1."),
        ("limit=ten", "limit", "must be an integer."),
        ("limit=", "limit", "must not be empty."),
        ("limit=1&limit=1", "limit", "must not be given twice."),
        ("offset=-1", "offset", "must be at least 0."),
        ("offset=2147483648", "offset", "must be at most 2147483647."),
        ("status=open", "status", "must be one of: active, completed."),
        (f"userId={'x' * 257}", "userId", "must have at most 256 characters."),
        ("model=%00", "model", "must not contain control characters."),
        ("model=%FF", "model", "must be UTF-8."),
        (f"cursor={'x' * 65}", "cursor", "must have at most 64 characters."),
        ("cursor=x&offset=1", "cursor", "must not be given together with offset."),
    ],
)
def test_list_session_errors_name_the_bound_that_was_broken(
    caller: Caller, query: str, pointer: str, detail: str
) -> None:
    problem = caller.list(f"?{query}").problem
    assert problem["errors"] == [{"pointer": pointer, "detail": detail}]
    assert problem["detail"] == f"{pointer}: {detail}"


@pytest.mark.parametrize(
    ("query", "pointer", "detail"),
    [
        ("messagesLimit=0", "messagesLimit", "must be at least 1."),
        ("messagesLimit=1001", "messagesLimit", "must be at most 1000."),
        ("messagesOffset=-1", "messagesOffset", "must be at least 0."),
    ],
)
def test_get_session_errors_name_the_bound_that_was_broken(
    caller: Caller, query: str, pointer: str, detail: str
) -> None:
    problem = caller.get(caller.new_session(), f"?{query}").problem
    assert problem["errors"] == [{"pointer": pointer, "detail": detail}]


@pytest.mark.parametrize("value", [*NOT_INTEGERS, "0", "101", "2147483648", "9" * 30])
def test_a_limit_must_be_an_integer_from_1_to_100(caller: Caller, value: str) -> None:
    response = caller.list(f"?limit={value}")
    assert response.error == (400, "INVALID_PARAMETER")
    assert response.pointers == ["limit"]


@pytest.mark.parametrize("value", [*NOT_INTEGERS, "2147483648", "4294967296", "9" * 30])
def test_an_offset_must_be_an_integer_of_31_bits(caller: Caller, value: str) -> None:
    response = caller.list(f"?offset={value}")
    assert response.error == (400, "INVALID_PARAMETER")
    assert response.pointers == ["offset"]


@pytest.mark.parametrize("value", [*NOT_INTEGERS, "0", "1001", "2147483648"])
def test_a_window_limit_must_be_an_integer_from_1_to_1000(caller: Caller, value: str) -> None:
    response = caller.get(caller.new_session(), f"?messagesLimit={value}")
    assert response.error == (400, "INVALID_PARAMETER")
    assert response.pointers == ["messagesLimit"]


@pytest.mark.parametrize("value", [*NOT_INTEGERS, "2147483648", "9" * 30])
def test_a_window_offset_must_be_an_integer_of_31_bits(caller: Caller, value: str) -> None:
    response = caller.get(caller.new_session(), f"?messagesOffset={value}")
    assert response.error == (400, "INVALID_PARAMETER")
    assert response.pointers == ["messagesOffset"]


@pytest.mark.parametrize("value", ["expired", "Active", "ACTIVE", "active,completed", "1", "active%20"])
def test_an_unknown_status_is_400(caller: Caller, value: str) -> None:
    response = caller.list(f"?status={value}")
    assert response.error == (400, "INVALID_PARAMETER")
    assert response.pointers == ["status"]


@pytest.mark.parametrize("name", TEXTS)
def test_a_filter_must_not_contain_control_characters(caller: Caller, name: str) -> None:
    for control in CONTROLS:
        for text in (control, f"a{control}", f"{control}a", f"a{control}a"):
            response = caller.list(f"?{name}={quote(text)}")
            assert response.error == (400, "INVALID_PARAMETER"), repr(text)
            assert response.pointers == [name]


@pytest.mark.parametrize("name", TEXTS)
def test_a_filter_has_at_most_256_code_points(caller: Caller, name: str) -> None:
    for letter in ("a", "💬"):
        assert caller.list(f"?{name}={quote(letter * 256)}").status == 200
        assert caller.list(f"?{name}={quote(letter * 257)}").error == (400, "INVALID_PARAMETER")


@pytest.mark.parametrize("value", ["%FF", "%C3", "%ED%A0%80", "%F4%90%80%80", "a%C0%80"])
def test_a_filter_that_is_not_utf8_is_400(caller: Caller, value: str) -> None:
    response = caller.list(f"?userId={value}")
    assert response.error == (400, "INVALID_PARAMETER")
    assert response.pointers == ["userId"]


def test_a_plus_in_a_filter_is_a_space(caller: Caller) -> None:
    spaced, plus = caller.new_session(userId="a b"), caller.new_session(userId="a+b")
    assert [session["id"] for session in caller.list("?userId=a+b").json] == [spaced]
    assert [session["id"] for session in caller.list("?userId=a%20b").json] == [spaced]
    assert [session["id"] for session in caller.list("?userId=a%2Bb").json] == [plus]


@pytest.mark.parametrize(
    "query",
    ["unknown=1", "unknown=&unknown=", "modelId=m", "messages=1", "%FF=1", "&&", "=", "=1", "?"],
)
def test_unknown_parameters_are_ignored(caller: Caller, query: str) -> None:
    session_id = caller.new_session(initialMessages=[message()])
    assert [session["id"] for session in caller.list(f"?{query}").json] == [session_id]
    assert "messages_offset" not in caller.get(session_id, f"?{query}").json


def test_operations_without_parameters_ignore_the_query(caller: Caller) -> None:
    query = "?limit=0&limit=0&messagesLimit=x&cursor="
    response = caller.send("POST", caller.sessions + query, b'{"userId":"a"}')
    assert response.status == 201
    path = f"{caller.sessions}/{response.json['sessionId']}"
    assert caller.send("PUT", path + query, b"{}").status == 200
    assert caller.send("PUT", f"{path}/extend{query}").status == 200
    assert caller.send("GET", f"{path}?limit=0&cursor=&status=x").status == 200
    assert caller.send("DELETE", path + query).status == 200
