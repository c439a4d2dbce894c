from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.http.calling import JSON, Caller, moment, unknown_id
from tests.http.test_update import let_the_clock_move

DAY = 1_440


def test_extend_session_answers_200_in_camel_case(caller: Caller) -> None:
    session_id = caller.begin()
    answer = caller.extend(session_id, additionalMinutes=30)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["sessionId", "expiresAt", "message"]
    assert answer.json["sessionId"] == session_id
    assert answer.json["message"] == "Session extended by 30 minutes"


@pytest.mark.parametrize("minutes", [1, 2, 60, 1439, 1440])
def test_extend_session_adds_to_the_expiry_and_not_to_the_clock(caller: Caller, minutes: int) -> None:
    created = caller.create(expirationMinutes=1440).json
    answer = caller.extend(created["sessionId"], additionalMinutes=minutes)
    assert moment(answer.json["expiresAt"]) - moment(created["expiresAt"]) == timedelta(minutes=minutes)
    assert caller.read(created["sessionId"])["expires_at"] == answer.json["expiresAt"]


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
def test_extend_session_adds_an_hour_unless_told(caller: Caller, body: bytes | None, headers: dict[str, str]) -> None:
    created = caller.create().json
    answer = caller.extend_raw(created["sessionId"], body, headers)
    assert answer.status == 200
    assert moment(answer.json["expiresAt"]) - moment(created["expiresAt"]) == timedelta(hours=1)
    assert answer.json["message"] == "Session extended by 60 minutes"


def test_extend_session_twice_adds_up(caller: Caller) -> None:
    created = caller.create(expirationMinutes=5).json
    caller.extend(created["sessionId"], additionalMinutes=10)
    answer = caller.extend(created["sessionId"], additionalMinutes=20)
    assert moment(answer.json["expiresAt"]) - moment(created["createdAt"]) == timedelta(minutes=35)


def test_extend_session_adds_up_when_many_do_it_at_once(caller: Caller) -> None:
    created = caller.create(expirationMinutes=5).json

    def extend(minutes: int) -> int:
        with Caller(caller.port, caller.token, caller.organisation) as another:
            return another.extend(created["sessionId"], additionalMinutes=minutes).status

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(extend, range(1, 17))) == {200}
    expires_at = moment(caller.read(created["sessionId"])["expires_at"])
    assert expires_at - moment(created["expiresAt"]) == timedelta(minutes=sum(range(1, 17)))


@pytest.mark.parametrize("minutes", [0, -1, -1440, 1441, 2**31, 2**63, 60.0, 1.5, "60", True, [], {}])
def test_extend_session_refuses_other_minutes(caller: Caller, minutes: object) -> None:
    session_id = caller.begin()
    before = caller.get(session_id).body
    answer = caller.extend(session_id, additionalMinutes=minutes)
    assert answer.refusal == (400, "INVALID_REQUEST")
    assert answer.pointers == ["/additionalMinutes"]
    assert caller.get(session_id).body == before


@pytest.mark.parametrize("body", [b"[]", b"60", b'"60"', b"false", b"nul", b"{", b"\x0b", b"\xef\xbb\xbf{}"])
def test_extend_session_refuses_a_body_that_is_no_object(caller: Caller, body: bytes) -> None:
    assert caller.extend_raw(caller.begin(), body).status == 400


def test_extend_session_moves_updated_at(caller: Caller) -> None:
    session_id = caller.begin()
    before = caller.read(session_id)
    let_the_clock_move()
    caller.extend(session_id)
    after = caller.read(session_id)
    assert moment(after["updated_at"]) > moment(before["updated_at"])
    unmoved = {"updated_at", "expires_at"}
    assert {name: after[name] for name in after.keys() - unmoved} == {
        name: before[name] for name in before.keys() - unmoved
    }


def test_extend_session_reaches_thirty_days_ahead_and_no_further(caller: Caller) -> None:
    created = caller.create(expirationMinutes=DAY).json
    for _ in range(29):
        assert caller.extend(created["sessionId"], additionalMinutes=DAY).status == 200
    before = caller.get(created["sessionId"]).body
    for minutes in (DAY, 5):
        answer = caller.extend(created["sessionId"], additionalMinutes=minutes)
        assert answer.refusal == (400, "EXPIRY_TOO_FAR")
    assert caller.get(created["sessionId"]).body == before
    ahead = moment(caller.read(created["sessionId"])["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=30) - timedelta(minutes=5) < ahead < timedelta(days=30)


def test_extend_session_extends_a_completed_session_and_leaves_it_completed(caller: Caller) -> None:
    session_id = caller.begin()
    caller.update(session_id, status="completed")
    assert caller.extend(session_id).status == 200
    assert caller.read(session_id)["status"] == "completed"


def test_extend_session_of_an_unknown_id_is_404(caller: Caller) -> None:
    assert caller.extend(unknown_id()).refusal == (404, "SESSION_NOT_FOUND")
    assert caller.extend_raw(unknown_id(), None, {}).refusal == (404, "SESSION_NOT_FOUND")
