"""Idempotency keys: a request that is repeated with its key has one effect and gets one response."""

import threading
from typing import Any

import pytest

from tests.harness.server import ServerProcess
from tests.http.callers import JSON, Caller, Response, as_json, message, unknown_id

KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}


def create(caller: Caller, headers: dict[str, str] = KEY, **fields: Any) -> Response:
    return caller.send("POST", caller.sessions, as_json({"userId": "someone", **fields}), JSON | headers)


def update(caller: Caller, session_id: str, headers: dict[str, str] = KEY, **fields: Any) -> Response:
    return caller.send("PUT", f"{caller.sessions}/{session_id}", as_json(fields), JSON | headers)


def is_replay(response: Response) -> bool:
    return response.headers.get("idempotent-replayed") == "true"


def test_every_response_declares_support_for_keys(caller: Caller) -> None:
    session_id = caller.new_session()
    responses = [caller.list(), caller.get(session_id), caller.get(unknown_id()), caller.with_token(None).list()]
    assert [response.headers["accept-idempotency-key"] for response in responses] == ["?1"] * 4


def test_create_session_repeated_with_its_key_creates_one_session(caller: Caller) -> None:
    first = create(caller, metadata={"a": 1})
    again = create(caller, metadata={"a": 1})
    assert (first.status, is_replay(first)) == (201, False)
    assert (again.status, is_replay(again)) == (201, True)
    assert again.body == first.body
    assert again.headers["etag"] == first.headers["etag"]
    assert len(caller.list().json) == 1


def test_update_session_repeated_with_its_key_appends_once(caller: Caller) -> None:
    session_id = caller.new_session()
    first = update(caller, session_id, newMessages=[message()], tokensUsed=7)
    caller.update(session_id, newMessages=[message("another")])
    again = update(caller, session_id, newMessages=[message()], tokensUsed=7)
    assert is_replay(again)
    assert again.body == first.body
    session = caller.read(session_id)
    assert (session["total_messages"], session["total_tokens"]) == (2, 7)


def test_extend_session_repeated_with_its_key_extends_once(caller: Caller) -> None:
    session_id = caller.new_session()
    first, again = (caller.extend_raw(session_id, b'{"additionalMinutes":5}', JSON | KEY) for _ in range(2))
    assert again.body == first.body
    assert caller.read(session_id)["expires_at"] == first.json["expiresAt"]


def test_delete_session_repeated_with_its_key_gets_the_first_response(caller: Caller) -> None:
    session_id = caller.new_session()
    first, again = (caller.send("DELETE", f"{caller.sessions}/{session_id}", headers=KEY) for _ in range(2))
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert is_replay(again)
    assert caller.delete(session_id).status == 404


def test_a_response_is_replayed_after_its_session_was_deleted(caller: Caller) -> None:
    session_id = caller.new_session()
    first = update(caller, session_id, newMessages=[message()])
    caller.delete(session_id)
    again = update(caller, session_id, newMessages=[message()])
    assert (again.status, again.body) == (200, first.body)


@pytest.mark.parametrize("change", ["body", "session"])
def test_a_key_reused_for_another_request_is_422_and_changes_nothing(caller: Caller, change: str) -> None:
    session_id, other_id = caller.new_session(), caller.new_session()
    update(caller, session_id, newMessages=[message()])
    if change == "body":
        refused = update(caller, session_id, newMessages=[message("other")])
    else:
        refused = update(caller, other_id, newMessages=[message()])
    assert refused.error == (422, "IDEMPOTENCY_KEY_REUSED")
    assert caller.read(session_id)["total_messages"] == 1
    assert caller.read(other_id)["total_messages"] == 0


def test_a_key_belongs_to_one_operation(caller: Caller) -> None:
    session_id = caller.new_session()
    assert update(caller, session_id, tokensUsed=1).status == 200
    assert not is_replay(caller.extend_raw(session_id, b"{}", JSON | KEY))


def test_a_key_belongs_to_one_token_and_one_organisation(server: ServerProcess, caller: Caller) -> None:
    first = create(caller)
    other_token = create(caller.with_token(server.create_token(caller.organisation)))
    with Caller(server.port, caller.token, f"{caller.organisation}-2") as elsewhere:
        other_organisation = create(elsewhere)
    ids = {response.json["sessionId"] for response in (first, other_token, other_organisation)}
    assert len(ids) == 3


def test_an_error_without_effect_is_not_stored_under_its_key(caller: Caller) -> None:
    session_id = caller.new_session()
    caller.update(session_id, tokensUsed=2_147_483_647)
    assert update(caller, session_id, tokensUsed=1).status == 400
    assert update(caller, unknown_id(), tokensUsed=1).status == 404
    assert not is_replay(update(caller, session_id, status="completed"))


def test_a_failed_precondition_is_not_stored_under_its_key(caller: Caller) -> None:
    session_id = caller.new_session()
    caller.update(session_id, tokensUsed=1)
    assert update(caller, session_id, KEY | {"If-Match": '"1"'}, tokensUsed=2).status == 412
    applied = update(caller, session_id, KEY | {"If-Match": '"2"'}, tokensUsed=2)
    assert (applied.status, is_replay(applied)) == (200, False)
    assert caller.read(session_id)["total_tokens"] == 3


def test_concurrent_requests_with_one_key_have_one_effect_and_the_same_response(
    server: ServerProcess, caller: Caller
) -> None:
    responses: list[Response] = []
    start = threading.Barrier(16)

    def call() -> None:
        with Caller(server.port, caller.token, caller.organisation) as other:
            start.wait(10)
            responses.append(create(other))

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [response.status for response in responses] == [201] * 16
    assert len({response.body for response in responses}) == 1
    assert sum(is_replay(response) for response in responses) == 15
    assert len(caller.list().json) == 1


@pytest.mark.parametrize("value", ['"simple"', "simple", r'"with \"quotes\" and \\"', "x" * 255])
def test_a_key_may_be_quoted_or_not(caller: Caller, value: str) -> None:
    headers = {"Idempotency-Key": value}
    assert create(caller, headers).status == 201
    assert is_replay(create(caller, headers))


def test_a_backslash_escapes_only_within_quotes(caller: Caller) -> None:
    assert not is_replay(create(caller, {"Idempotency-Key": r"a\\b"}))
    assert not is_replay(create(caller, {"Idempotency-Key": r"a\b"}))
    assert is_replay(create(caller, {"Idempotency-Key": r'"a\\b"'}))


@pytest.mark.parametrize("value", ['""', '"open', "two words", "a,b", '"\xe9"', "x" * 256, '"a", "b"'])
def test_an_invalid_key_is_refused_and_changes_nothing(caller: Caller, value: str) -> None:
    assert create(caller, {"Idempotency-Key": value}).error == (400, "INVALID_HEADER")
    assert caller.list().json == []
