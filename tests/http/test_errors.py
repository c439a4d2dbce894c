"""Errors: their common form, the order of the checks, and request ids."""

import re
from typing import Any

import pytest

from tests.harness.server import ServerProcess
from tests.http.callers import JSON, Caller, Response, as_json, message, unknown_id

MIB = 1024 * 1024
PLAIN = {"Content-Type": "text/plain"}
LONG_QUERY = "?limit=0&x=" + "x" * 9_000
MANY_HEADERS = {"X-Filler": "x" * 40_000}


@pytest.fixture(scope="session")
def other_token(server: ServerProcess) -> str:
    """A valid token for an organisation that no test uses."""
    return server.create_token("other-organisation")


@pytest.fixture(scope="session")
def reading_token(server: ServerProcess) -> str:
    """A token that may read in all organisations, and not write."""
    return server.create_token(all_organisations=True, scopes=["sessions:read"])


@pytest.fixture(scope="session")
def writing_token(server: ServerProcess) -> str:
    """A token that may write in all organisations, and not read."""
    return server.create_token(all_organisations=True, scopes=["sessions:write"])


def test_path_is_checked_before_method_and_token(caller: Caller) -> None:
    nobody = caller.with_token(None)
    assert nobody.send("PATCH", f"{caller.sessions}/a/b", b"{", PLAIN).error == (404, "NOT_FOUND")
    assert nobody.send("GET", "/nowhere").error == (404, "NOT_FOUND")


def test_method_is_checked_before_token(caller: Caller) -> None:
    for token in (None, "nonsense", caller.token):
        response = caller.with_token(token).send("PATCH", caller.sessions + LONG_QUERY, b"{", PLAIN)
        assert response.error == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("query", ["", LONG_QUERY, "?limit="])
def test_token_is_checked_before_size_type_and_content(caller: Caller, query: str) -> None:
    for token in (None, "nonsense"):
        nobody = caller.with_token(token)
        assert nobody.send("POST", caller.sessions + query, b"{", PLAIN).error == (401, "UNAUTHENTICATED")
        assert nobody.send("GET", caller.sessions + query, headers=MANY_HEADERS).error == (401, "UNAUTHENTICATED")
        assert nobody.get(unknown_id(), query).error == (401, "UNAUTHENTICATED")
        assert nobody.delete("no-uuid").error == (401, "UNAUTHENTICATED")


def test_organisation_is_checked_before_size_type_content_and_session(caller: Caller, other_token: str) -> None:
    other = caller.with_token(other_token)
    session_id = caller.new_session()
    assert other.send("POST", caller.sessions + LONG_QUERY, b"{", PLAIN).error == (403, "FORBIDDEN")
    assert other.send("GET", f"{caller.sessions}?limit=0", headers=MANY_HEADERS).error == (403, "FORBIDDEN")
    for each in (session_id, unknown_id(), "no-uuid"):
        assert other.get(each).error == (403, "FORBIDDEN")


def test_scope_is_checked_before_size_type_content_and_session(
    caller: Caller, reading_token: str, writing_token: str
) -> None:
    reader, writer = caller.with_token(reading_token), caller.with_token(writing_token)
    assert reader.send("POST", caller.sessions + LONG_QUERY, b"{", PLAIN).error == (403, "SCOPE_MISSING")
    for each in (caller.new_session(), unknown_id(), "no-uuid"):
        assert reader.send("PUT", f"{caller.sessions}/{each}", b"{", PLAIN).error == (403, "SCOPE_MISSING")
        assert reader.extend(each).error == (403, "SCOPE_MISSING")
        assert reader.delete(each).error == (403, "SCOPE_MISSING")
        assert writer.get(each, LONG_QUERY).error == (403, "SCOPE_MISSING")
    assert writer.list("?limit=0").error == (403, "SCOPE_MISSING")
    assert writer.send("HEAD", caller.sessions).status == 403


@pytest.mark.parametrize(
    ("query", "headers", "body", "error"),
    [
        ("", PLAIN, b"{", (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("", JSON, b"{".ljust(8 * MIB + 1), (413, "BODY_TOO_LARGE")),
        (LONG_QUERY, JSON, b"{", (414, "QUERY_TOO_LONG")),
        ("", {**JSON, **MANY_HEADERS}, b"{", (431, "HEADERS_TOO_LARGE")),
    ],
)
def test_size_and_type_are_checked_before_content_and_session(
    caller: Caller, query: str, headers: dict[str, str], body: bytes, error: tuple[int, str]
) -> None:
    for path in (caller.sessions, f"{caller.sessions}/{unknown_id()}/extend"):
        method = "POST" if path == caller.sessions else "PUT"
        assert caller.send(method, path + query, body, headers).error == error
    assert caller.send("PUT", f"{caller.sessions}/no-uuid{query}", body, headers).error == error


def test_size_of_query_and_headers_is_checked_before_parameters_and_session(caller: Caller) -> None:
    assert caller.list(LONG_QUERY).error == (414, "QUERY_TOO_LONG")
    assert caller.get("no-uuid", LONG_QUERY).error == (414, "QUERY_TOO_LONG")
    response = caller.send("GET", f"{caller.sessions}/no-uuid?messagesLimit=0", headers=MANY_HEADERS)
    assert response.error == (431, "HEADERS_TOO_LARGE")


@pytest.mark.parametrize("session_id", ["4c8d2f0a-5f0e-4a3b-9d51-0f6a6f1c7e11", "no-uuid"])
def test_query_and_content_are_checked_before_session(caller: Caller, session_id: str) -> None:
    assert caller.get(session_id, "?messagesLimit=0").status == 400
    assert caller.update_raw(session_id, b"{").status == 400
    assert caller.update(session_id, tokensUsed=-1).status == 400
    assert caller.update(session_id, newMessages=[{}]).status == 400
    assert caller.update(session_id, metadata={"a": "\0"}).status == 400
    assert caller.extend(session_id, additionalMinutes=0).status == 400
    assert caller.update(session_id, tokensUsed=1).status == 404


def test_a_body_is_never_422(caller: Caller) -> None:
    bodies: list[Any] = [{}, [], {"userId": 5}, {"userId": "a", "metadata": 5}, {"userId": "a", "title": "\n"}]
    assert {caller.create_raw(as_json(body)).status for body in bodies} == {400}


def test_an_error_says_what_is_wrong_in_one_form(caller: Caller) -> None:
    response = caller.update(
        caller.new_session(), newMessages=[message(), message(), message(), message("Hi", "robot")]
    )
    problem = response.problem
    assert response.status == 400
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["errors"] == [{"pointer": "/newMessages/3/role", "detail": problem["errors"][0]["detail"]}]
    assert "/newMessages/3/role" in problem["detail"]


def test_the_detail_is_the_first_member_of_an_error(caller: Caller) -> None:
    """Clients that cut a body off, as the official PHP client does in its message, still show the reason."""
    for response in refused_in_every_way(caller).values():
        assert next(iter(response.problem)) == "detail"
        assert response.body.startswith(b'{"detail":"' + response.problem["detail"].encode()[:20])


def test_an_error_points_at_what_the_session_has_no_room_for(caller: Caller) -> None:
    full = caller.new_session(initialMessages=[message("x" * (MIB - 100))] * 7)
    assert caller.update(full, newMessages=[message("x" * (MIB - 100))] * 7).status == 200
    over = caller.update(full, newMessages=[message("x" * (MIB - 100))] * 3)
    assert over.error == (413, "SESSION_FULL")
    assert [fault["pointer"] for fault in over.problem["errors"]] == ["/newMessages"]


def refused_in_every_way(caller: Caller) -> dict[str, Response]:
    return {
        "no such path": caller.send("GET", "/nowhere"),
        "no such method": caller.send("PATCH", caller.sessions),
        "no token": caller.with_token(None).list(),
        "no such session": caller.get(unknown_id()),
        "too large": caller.create_raw(b" " * (8 * MIB + 1)),
        "query too long": caller.list(LONG_QUERY),
        "no JSON type": caller.send("POST", caller.sessions, b"{}", PLAIN),
        "headers too large": caller.send("GET", caller.sessions, headers=MANY_HEADERS),
        "no JSON": caller.create_raw(b"{"),
        "bad field": caller.create(title=""),
        "bad parameter": caller.list("?limit=0"),
        "bad cursor": caller.list("?cursor=x"),
        "metadata too large": caller.create(metadata={"a": "x" * 70_000}),
    }


def test_every_error_has_the_common_form_its_own_code_and_nothing_internal(caller: Caller) -> None:
    refused = refused_in_every_way(caller)
    codes = {response.problem["code"] for response in refused.values()}
    assert len(codes) == len(refused)
    assert all(response.headers["x-request-id"] for response in refused.values())
    assert all("retry-after" not in response.headers for response in refused.values())


def test_an_error_does_not_repeat_a_token(caller: Caller) -> None:
    response = caller.send("GET", f"{caller.sessions}?limit={caller.token}")
    assert str(caller.token).encode() not in response.body
    assert b"sny_secret" not in caller.with_token("sny_secret").list().body


def test_a_missing_or_invalid_token_gets_www_authenticate(caller: Caller) -> None:
    for token in (None, "nonsense"):
        response = caller.with_token(token).list()
        assert response.error == (401, "UNAUTHENTICATED")
        assert response.headers["www-authenticate"] == "Bearer"
    assert "www-authenticate" not in caller.list().headers


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer ", "Bearer   "])
def test_the_scheme_is_case_insensitive(caller: Caller, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {caller.token}"}
    assert caller.with_token(None).send("GET", caller.sessions, headers=headers).status == 200


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "Basic {}",
        "Token {}",
        "Bearer{}",
        "Bearer",
        "Bearer {} x",
        "Bearer {0}, Bearer {0}",
        'Bearer "{}"',
        "Bearer token={}",
    ],
)
def test_any_other_form_of_authorization_is_401(caller: Caller, form: str) -> None:
    headers = {"Authorization": form.format(caller.token)}
    response = caller.with_token(None).send("GET", caller.sessions, headers=headers)
    assert response.error == (401, "UNAUTHENTICATED")


def test_a_token_in_the_query_does_not_authenticate(caller: Caller) -> None:
    response = caller.with_token(None).list(f"?access_token={caller.token}&token={caller.token}")
    assert response.error == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("given", ["a", "x" * 128, "A-z_0.9", "...", "0199a0b1-0000-7000-8000-000000000000"])
def test_a_valid_request_id_is_returned(caller: Caller, given: str) -> None:
    named = {"X-Request-Id": given}
    responses = [
        caller.send("GET", caller.sessions, headers=named),
        caller.send("HEAD", caller.sessions, headers=named),
        caller.send("POST", caller.sessions, b"{", {**JSON, **named}),
        caller.send("PATCH", caller.sessions, headers=named),
        caller.send("GET", "/nowhere", headers=named),
        caller.send("GET", "/health/live", headers=named),
        caller.with_token(None).send("GET", caller.sessions, headers=named),
    ]
    assert {response.headers["x-request-id"] for response in responses} == {given}


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "a b", "a,b", "a/b", "a:b", "{}", "<x>", "é", '"a"', "a\tb", "%0d%0a"]
)
def test_an_invalid_request_id_is_replaced(caller: Caller, given: str) -> None:
    response = caller.send("GET", caller.sessions, headers={"X-Request-Id": given})
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", response.headers["x-request-id"])
    assert response.headers["x-request-id"] != given


def test_every_request_gets_its_own_request_id(caller: Caller) -> None:
    names = [caller.list().headers["x-request-id"] for _ in range(50)]
    assert len(set(names)) == 50


def test_a_repeated_request_id_is_replaced(caller: Caller) -> None:
    response = caller.send("GET", caller.sessions, headers={"X-Request-Id": "a", "x-request-id": "b"})
    assert response.headers["x-request-id"] not in {"a", "b", "a, b"}


def test_requests_without_preconditions_or_keys_never_fail_because_of_them(caller: Caller) -> None:
    for response in refused_in_every_way(caller).values():
        assert response.status not in {304, 409, 412, 422}
