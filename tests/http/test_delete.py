import pytest

from tests.http.callers import JSON, Caller, message, unknown_id


def test_delete_session_returns_200_with_a_message(caller: Caller) -> None:
    response = caller.delete(caller.new_session())
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json == {"message": "Session deleted successfully"}


def test_delete_session_makes_the_session_unknown(caller: Caller) -> None:
    deleted, kept = caller.new_session(initialMessages=[message()]), caller.new_session()
    caller.delete(deleted)
    later = [caller.get(deleted), caller.update(deleted, tokensUsed=1), caller.extend(deleted), caller.delete(deleted)]
    for response in later:
        assert response.error == (404, "SESSION_NOT_FOUND")
    assert [session["id"] for session in caller.list().json] == [kept]


def test_delete_session_of_an_unknown_id_is_404(caller: Caller) -> None:
    assert caller.delete(unknown_id()).error == (404, "SESSION_NOT_FOUND")


def test_delete_session_deletes_a_completed_session(caller: Caller) -> None:
    session_id = caller.new_session()
    caller.update(session_id, status="completed")
    assert caller.delete(session_id).status == 200


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (None, JSON),
        (b"", JSON),
        (b"{}", JSON),
        (b"not JSON", {"Content-Type": "text/plain"}),
        (b"x" * 10_000, {}),
        (None, {"Content-Type": "text/html", "Content-Encoding": "gzip"}),
    ],
)
def test_delete_session_ignores_a_body(caller: Caller, body: bytes | None, headers: dict[str, str]) -> None:
    session_id = caller.new_session()
    assert caller.send("DELETE", f"{caller.sessions}/{session_id}", body, headers).status == 200
    assert caller.get(session_id).status == 404
