"""What every answer tells a browser: it is no page, no secret to keep on a disk, and no site may read it."""

import pytest

from tests.http.calling import JSON, Answer, Caller, unknown_id
from tests.http.wires import Wire

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


def answered_in_every_way(caller: Caller) -> list[Answer]:
    session_id = caller.begin()
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
        caller.bearing(None).list(),
        caller.get(unknown_id()),
        caller.create_raw(b"{"),
        caller.send("PUT", path, b"{}", {**JSON, "If-Match": '"77"'}),
        caller.send("OPTIONS", caller.sessions, headers=ASKED_BEFORE),
        caller.delete(session_id),
    ]


def test_every_answer_is_safe_in_a_browser_and_kept_by_nobody(caller: Caller) -> None:
    for answer in answered_in_every_way(caller):
        assert {name: answer.headers.get(name) for name in SAFE} == SAFE
        assert answer.headers["cache-control"] == "no-store"


def test_what_a_connection_refuses_is_safe_too(caller: Caller) -> None:
    with Wire(caller.port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nNo colon\r\n\r\n")
        answer = wire.receive()
    assert answer.status == 400
    assert {name: answer.headers.get(name) for name in SAFE} == SAFE
    assert answer.headers["cache-control"] == "no-store"


def test_a_session_may_be_kept_by_its_asker_who_asks_again(caller: Caller) -> None:
    path = f"{caller.sessions}/{caller.begin()}"
    read = caller.send("GET", path)
    known = caller.send("GET", path, headers={"If-None-Match": read.headers["etag"]})
    assert (read.status, known.status) == (200, 304)
    for answer in (read, known):
        assert answer.headers["cache-control"] == "private, no-cache"
        assert {name: answer.headers.get(name) for name in SAFE} == SAFE


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_no_other_site_is_let_in(caller: Caller, method: str) -> None:
    for path in (caller.sessions, f"{caller.sessions}/{unknown_id()}", "/openapi.json", "/health/live"):
        answer = caller.send(method, path, headers=ASKED_BEFORE)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert caller.send("OPTIONS", caller.sessions, headers=ASKED_BEFORE).refusal == (405, "METHOD_NOT_ALLOWED")
