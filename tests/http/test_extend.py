from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.http.callers import JSON, Caller, parse_timestamp, unknown_id
from tests.http.test_update import let_the_clock_move

DAY = 1_440


def test_extend_session_returns_200_in_camel_case(caller: Caller) -> None:
    session_id = caller.new_session()
    response = caller.extend(session_id, additionalMinutes=30)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert list(response.json) == ["sessionId", "expiresAt", "message"]
    assert response.json["sessionId"] == session_id
    assert response.json["message"] == "Session extended by 30 minutes"


@pytest.mark.parametrize("minutes", [1, 2, 60, 1439, 1440])
def test_extend_session_adds_to_the_expiry_and_not_to_the_current_time(caller: Caller, minutes: int) -> None:
    created = caller.create(expirationMinutes=1440).json
    response = caller.extend(created["sessionId"], additionalMinutes=minutes)
    assert parse_timestamp(response.json["expiresAt"]) - parse_timestamp(created["expiresAt"]) == timedelta(
        minutes=minutes
    )
    assert caller.read(created["sessionId"])["expires_at"] == response.json["expiresAt"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (None, {}),
        (None, JSON),
        (b"", {}),
        (b"", JSON),
        (b"null", JSON),
        (b"null\n", JSON),
        (b"{}", JSON),
        (b" \t\r\n", JSON),
        (b'{"additionalMinutes":null}', JSON),
        (b'{"additionalMinutes":60}', JSON),
        (b'{"minutes":5,"anything":"x"}', JSON),
    ],
)
def test_extend_session_adds_an_hour_by_default(caller: Caller, body: bytes | None, headers: dict[str, str]) -> None:
    created = caller.create().json
    response = caller.extend_raw(created["sessionId"], body, headers)
    assert response.status == 200
    assert parse_timestamp(response.json["expiresAt"]) - parse_timestamp(created["expiresAt"]) == timedelta(hours=1)
    assert response.json["message"] == "Session extended by 60 minutes"


def test_extend_session_adds_up_when_repeated(caller: Caller) -> None:
    created = caller.create(expirationMinutes=5).json
    caller.extend(created["sessionId"], additionalMinutes=10)
    response = caller.extend(created["sessionId"], additionalMinutes=20)
    assert parse_timestamp(response.json["expiresAt"]) - parse_timestamp(created["createdAt"]) == timedelta(minutes=35)


def test_extend_session_adds_up_when_called_concurrently(caller: Caller) -> None:
    created = caller.create(expirationMinutes=5).json

    def extend(minutes: int) -> int:
        with Caller(caller.port, caller.token, caller.organisation) as another:
            return another.extend(created["sessionId"], additionalMinutes=minutes).status

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(extend, range(1, 17))) == {200}
    expires_at = parse_timestamp(caller.read(created["sessionId"])["expires_at"])
    assert expires_at - parse_timestamp(created["expiresAt"]) == timedelta(minutes=sum(range(1, 17)))


@pytest.mark.parametrize("minutes", [0, -1, -1440, 1441, 2**31, 2**63, 60.0, 1.5, "60", True, [], {}])
def test_extend_session_refuses_minutes_out_of_range(caller: Caller, minutes: object) -> None:
    session_id = caller.new_session()
    before = caller.get(session_id).body
    response = caller.extend(session_id, additionalMinutes=minutes)
    assert response.error == (400, "INVALID_REQUEST")
    assert response.pointers == ["/additionalMinutes"]
    assert caller.get(session_id).body == before


@pytest.mark.parametrize("body", [b"[]", b"60", b'"60"', b"false", b"nul", b"{", b"\x0b", b"\xef\xbb\xbf{}"])
def test_extend_session_refuses_a_body_that_is_not_an_object(caller: Caller, body: bytes) -> None:
    assert caller.extend_raw(caller.new_session(), body).status == 400


def test_extend_session_updates_updated_at(caller: Caller) -> None:
    session_id = caller.new_session()
    before = caller.read(session_id)
    let_the_clock_move()
    caller.extend(session_id)
    after = caller.read(session_id)
    assert parse_timestamp(after["updated_at"]) > parse_timestamp(before["updated_at"])
    unmoved = {"updated_at", "expires_at"}
    assert {name: after[name] for name in after.keys() - unmoved} == {
        name: before[name] for name in before.keys() - unmoved
    }


def test_extend_session_reaches_thirty_days_from_now_and_no_further(caller: Caller) -> None:
    created = caller.create(expirationMinutes=DAY).json
    for _ in range(29):
        assert caller.extend(created["sessionId"], additionalMinutes=DAY).status == 200
    before = caller.get(created["sessionId"]).body
    for minutes in (DAY, 5):
        response = caller.extend(created["sessionId"], additionalMinutes=minutes)
        assert response.error == (400, "EXPIRY_TOO_FAR")
    assert caller.get(created["sessionId"]).body == before
    ahead = parse_timestamp(caller.read(created["sessionId"])["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=30) - timedelta(minutes=5) < ahead < timedelta(days=30)


def test_extend_session_extends_a_completed_session_and_leaves_it_completed(caller: Caller) -> None:
    session_id = caller.new_session()
    caller.update(session_id, status="completed")
    assert caller.extend(session_id).status == 200
    assert caller.read(session_id)["status"] == "completed"


def test_extend_session_of_an_unknown_id_is_404(caller: Caller) -> None:
    assert caller.extend(unknown_id()).error == (404, "SESSION_NOT_FOUND")
    assert caller.extend_raw(unknown_id(), None, {}).error == (404, "SESSION_NOT_FOUND")
