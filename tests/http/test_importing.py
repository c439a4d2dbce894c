"""Importing: a token with the scope for it says when sessions and messages were created; nobody else can."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessionary.server.operations.tokens import READ, WRITE
from tests.harness.server import ServerProcess
from tests.http.calling import JSON, Caller, as_json, message, moment

LONG_AGO = "2019-04-05T06:07:08.900Z"


@pytest.fixture(scope="session")
def import_token(server: ServerProcess) -> str:
    """A token that may import into any organisation."""
    return server.create_token(all_organisations=True, scopes=[READ, WRITE, "sessions:import"])


@pytest.fixture
def importer(caller: Caller, import_token: str) -> Iterator[Caller]:
    """Speaks for the caller's organisation and may import."""
    with caller.bearing(import_token) as importer:
        yield importer


def times(caller: Caller, session_id: str) -> list[str]:
    return [spoken["created_at"] for spoken in caller.read(session_id)["messages"]]


def test_create_session_with_a_time_of_its_own_is_as_old_as_it_says(importer: Caller) -> None:
    answer = importer.create(createdAt=LONG_AGO, initialMessages=[message()], expirationMinutes=5)
    assert answer.status == 201
    created, session_id = answer.json, answer.json["sessionId"]
    assert created["createdAt"] == LONG_AGO
    assert int(session_id.replace("-", "")[:12], 16) == round(moment(LONG_AGO).timestamp() * 1000)
    assert session_id[14] == "7"
    left = moment(created["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)
    session = importer.read(session_id)
    assert session["created_at"] == LONG_AGO
    assert moment(session["updated_at"]) + timedelta(minutes=5) == moment(created["expiresAt"])
    assert times(importer, session_id) == [session["updated_at"]]
    assert importer.extend(session_id).status == 200


def test_imported_sessions_are_listed_where_they_belong(importer: Caller) -> None:
    days = [3, 1, 4, 1, 5, 9, 2, 6]
    made = [
        (f"2020-01-{day:02}T00:00:00.000Z", importer.begin(createdAt=f"2020-01-{day:02}T00:00:00Z")) for day in days
    ]
    new = importer.begin()
    expected = [new, *[session_id for _, session_id in sorted(made, reverse=True)]]
    assert [one["id"] for one in importer.list().json] == expected
    paged, query = [], "?limit=2"
    while query:
        page = importer.list(query)
        paged += [one["id"] for one in page.json]
        _, found, rest = page.headers.get("link", "").partition("?")
        query = f"?{rest.partition('>')[0]}" if found else ""
    assert paged == expected


def test_those_of_one_instant_are_listed_in_the_order_in_which_they_came(importer: Caller) -> None:
    made = [importer.begin(createdAt=LONG_AGO) for _ in range(20)]
    assert [one["id"] for one in importer.list().json] == made[::-1]


def test_messages_keep_the_time_they_bring_in_every_form_of_it(importer: Caller) -> None:
    brought = {
        "2019-04-05T06:07:08.900Z": "2019-04-05T06:07:08.900Z",
        "2019-04-05T06:07:08Z": "2019-04-05T06:07:08.000Z",
        "2019-04-05T06:07:08.9Z": "2019-04-05T06:07:08.900Z",
        "2019-04-05T06:07:08.123999+02:00": "2019-04-05T04:07:08.123Z",
        "2019-04-05t06:07:08z": "2019-04-05T06:07:08.000Z",
        "2019-04-05T00:07:08-05:30": "2019-04-05T05:37:08.000Z",
        "2019-04-05T06:07:08-00:00": "2019-04-05T06:07:08.000Z",
        "2016-12-31T23:59:60Z": "2017-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00Z": "1970-01-01T00:00:00.000Z",
        "1970-01-01T05:30:00+05:30": "1970-01-01T00:00:00.000Z",
    }
    spoken = [message(created_at=given) for given in brought]
    session_id = importer.begin(initialMessages=spoken)
    assert times(importer, session_id) == list(brought.values())
    assert importer.update(session_id, newMessages=spoken[:3]).status == 200
    assert times(importer, session_id) == [*brought.values(), *list(brought.values())[:3]]


@pytest.mark.parametrize("given", [None, {}], ids=["null", "absent"])
def test_a_message_without_a_time_gets_the_servers(importer: Caller, given: Any) -> None:
    extra: dict[str, Any] = {} if given == {} else {"created_at": None}
    session_id = importer.begin(createdAt=LONG_AGO)
    answer = importer.update(session_id, newMessages=[message(**extra), message(created_at=LONG_AGO)])
    assert times(importer, session_id) == [answer.json["updatedAt"], LONG_AGO]


def bad_times() -> list[tuple[object, str]]:
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds")
    return [
        (ahead, "future"),
        ("9999-12-31T23:59:59-23:59", "future"),
        ("1969-12-31T23:59:59.999Z", "1970"),
        ("0001-01-01T00:00:00+23:59", "1970"),
        *[(text, "RFC 3339") for text in ("", "now", "2019-04-05", "2019-04-05T06:07:08", "2019-04-05 06:07:08Z")],
        *[(text, "RFC 3339") for text in ("2019-02-30T00:00:00Z", "2019-04-05T25:00:00Z", "2019-04-05T06:07:08Z\n")],
        *[(text, "RFC 3339") for text in ("2019-04-05T06:07:08+24:00", "0000-01-01T00:00:00Z", "1554444428")],
        (f"2019-04-05T06:07:08.{'1' * 10_000}Z", "RFC 3339"),
    ]


def test_a_time_that_cannot_be_is_400_and_named(importer: Caller) -> None:
    session_id = importer.begin()
    for given, said in bad_times():
        created = importer.create(createdAt=given)
        assert (created.refusal, created.pointers) == ((400, "INVALID_REQUEST"), ["/createdAt"]), given
        assert said in created.problem["detail"]
    for given, said in [*bad_times(), (1554444428, "RFC 3339"), ({"a": 1}, "RFC 3339"), (True, "RFC 3339")]:
        for name, answer in (
            ("newMessages", importer.update(session_id, newMessages=[message(), message(created_at=given)])),
            ("initialMessages", importer.create(initialMessages=[message(), message(created_at=given)])),
        ):
            assert (answer.refusal, answer.pointers) == ((400, "INVALID_REQUEST"), [f"/{name}/1/created_at"]), given
            assert said in answer.problem["detail"]
    assert importer.read(session_id)["total_messages"] == 0
    assert len(importer.list().json) == 1
    assert importer.create(createdAt=5).pointers == ["/createdAt"]
    assert importer.create(createdAt=None).status == 201


def test_without_the_scope_a_session_has_no_time_of_its_own_and_messages_get_the_servers(caller: Caller) -> None:
    refused = caller.create(createdAt=LONG_AGO)
    assert refused.refusal == (403, "SCOPE_MISSING")
    assert "sessions:import" in refused.problem["detail"]
    assert caller.create(createdAt="nonsense").refusal == (403, "SCOPE_MISSING")
    assert caller.list().json == []
    assert caller.create(createdAt=None).status == 201
    session_id = caller.begin(initialMessages=[message(created_at=LONG_AGO)])
    assert times(caller, session_id) == [caller.read(session_id)["created_at"]]


def test_the_scope_alone_lets_nobody_write(server: ServerProcess, caller: Caller) -> None:
    with caller.bearing(server.create_token(all_organisations=True, scopes=["sessions:import"])) as other:
        assert other.create(createdAt=LONG_AGO).refusal == (403, "SCOPE_MISSING")
        assert other.list().refusal == (403, "SCOPE_MISSING")


def test_an_import_repeated_under_its_key_has_one_effect(importer: Caller) -> None:
    body = as_json({"userId": "a", "createdAt": LONG_AGO, "initialMessages": [message(created_at=LONG_AGO)]})
    headers = JSON | {"Idempotency-Key": "import-1"}
    first, again = (importer.send("POST", importer.sessions, body, headers) for _ in range(2))
    assert (first.status, again.json) == (201, first.json)
    assert len(importer.list().json) == 1
