"""Security headers: no response is a page, is stored on a disk by default, or is readable by another site."""

import pytest

from tests.http.callers import JSON, Caller, Response, unknown_id
from tests.http.raw_connection import RawConnection

SAFE = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
ELSEWHERE = {"Origin": "https://elsewhere.example"}
ASKED_BEFORE = {
    **ELSEWHERE,
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization, content-type",
}


def answered_in_every_way(caller: Caller) -> list[Response]:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    return [
        caller.create(),
        caller.list(),
        caller.update(session_id, tokensUsed=1),
        caller.extend(session_id),
        caller.send("HEAD", caller.sessions),
        caller.send("GET", "/health/live"),
        caller.send("GET", "/health/ready"),
        caller.send("GET", "/openapi.json"),
        caller.send("GET", "/nowhere"),
        caller.with_token(None).list(),
        caller.get(unknown_id()),
        caller.create_raw(b"{"),
        caller.send("PUT", path, b"{}", {**JSON, "If-Match": '"77"'}),
        caller.send("OPTIONS", caller.sessions, headers=ASKED_BEFORE),
        caller.delete(session_id),
    ]


def test_every_response_has_security_headers_and_no_store(caller: Caller) -> None:
    for response in answered_in_every_way(caller):
        assert {name: response.headers.get(name) for name in SAFE} == SAFE
        assert response.headers["cache-control"] == "no-store"


def test_errors_of_the_protocol_have_security_headers(caller: Caller) -> None:
    with RawConnection(caller.port) as connection:
        connection.send(b"GET / HTTP/1.1\r\nNo colon\r\n\r\n")
        response = connection.receive()
    assert response.status == 400
    assert {name: response.headers.get(name) for name in SAFE} == SAFE
    assert response.headers["cache-control"] == "no-store"


def test_a_session_may_be_cached_privately_with_revalidation(caller: Caller) -> None:
    path = f"{caller.sessions}/{caller.new_session()}"
    read = caller.send("GET", path)
    known = caller.send("GET", path, headers={"If-None-Match": read.headers["etag"]})
    assert (read.status, known.status) == (200, 304)
    for response in (read, known):
        assert response.headers["cache-control"] == "private, no-cache"
        assert {name: response.headers.get(name) for name in SAFE} == SAFE


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_cross_origin_requests_are_not_allowed(caller: Caller, method: str) -> None:
    for path in (caller.sessions, f"{caller.sessions}/{unknown_id()}", "/openapi.json", "/health/live"):
        response = caller.send(method, path, headers=ASKED_BEFORE)
        assert not [name for name in response.headers if name.startswith("access-control-")]
    assert caller.send("OPTIONS", caller.sessions, headers=ASKED_BEFORE).error == (405, "METHOD_NOT_ALLOWED")
