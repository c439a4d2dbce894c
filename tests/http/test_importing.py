"""Importing: only a token with the scope for it sets when sessions and messages were created."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessionary.server.operations.tokens import READ, WRITE
from tests.harness.server import ServerProcess
from tests.http.callers import JSON, Caller, as_json, message, parse_timestamp

LONG_AGO = "2019-04-05T06:07:08.900Z"


@pytest.fixture(scope="session")
def import_token(server: ServerProcess) -> str:
    """A token that may import into all organisations."""
    return server.create_token(all_organisations=True, scopes=[READ, WRITE, "sessions:import"])


@pytest.fixture
def importer(caller: Caller, import_token: str) -> Iterator[Caller]:
    """A caller for the same organisation that may import."""
    with caller.with_token(import_token) as importer:
        yield importer


def times(caller: Caller, session_id: str) -> list[str]:
    return [messages["created_at"] for messages in caller.read(session_id)["messages"]]


def test_create_session_with_created_at_is_as_old_as_that(importer: Caller) -> None:
    response = importer.create(createdAt=LONG_AGO, initialMessages=[message()], expirationMinutes=5)
    assert response.status == 201
    created, session_id = response.json, response.json["sessionId"]
    assert created["createdAt"] == LONG_AGO
    assert int(session_id.replace("-", "")[:12], 16) == round(parse_timestamp(LONG_AGO).timestamp() * 1000)
    assert session_id[14] == "7"
    left = parse_timestamp(created["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)
    session = importer.read(session_id)
    assert session["created_at"] == LONG_AGO
    assert parse_timestamp(session["updated_at"]) + timedelta(minutes=5) == parse_timestamp(created["expiresAt"])
    assert times(importer, session_id) == [session["updated_at"]]
    assert importer.extend(session_id).status == 200


def test_imported_sessions_are_listed_by_their_created_at(importer: Caller) -> None:
    days = [3, 1, 4, 1, 5, 9, 2, 6]
    made = [
        (f"2020-01-{day:02}T00:00:00.000Z", importer.new_session(createdAt=f"2020-01-{day:02}T00:00:00Z"))
        for day in days
    ]
    new = importer.new_session()
    expected = [new, *[session_id for _, session_id in sorted(made, reverse=True)]]
    assert [one["id"] for one in importer.list().json] == expected
    paged, query = [], "?limit=2"
    while query:
        page = importer.list(query)
        paged += [one["id"] for one in page.json]
        _, found, rest = page.headers.get("link", "").partition("?")
        query = f"?{rest.partition('>')[0]}" if found else ""
    assert paged == expected


def test_sessions_imported_with_the_same_time_are_listed_in_order_of_import(importer: Caller) -> None:
    made = [importer.new_session(createdAt=LONG_AGO) for _ in range(20)]
    assert [one["id"] for one in importer.list().json] == made[::-1]


def test_imported_messages_keep_their_created_at_in_every_valid_form(importer: Caller) -> None:
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
    messages = [message(created_at=given) for given in brought]
    session_id = importer.new_session(initialMessages=messages)
    assert times(importer, session_id) == list(brought.values())
    assert importer.update(session_id, newMessages=messages[:3]).status == 200
    assert times(importer, session_id) == [*brought.values(), *list(brought.values())[:3]]


@pytest.mark.parametrize("given", [None, {}], ids=["null", "absent"])
def test_an_imported_message_without_created_at_gets_the_servers_time(importer: Caller, given: Any) -> None:
    extra: dict[str, Any] = {} if given == {} else {"created_at": None}
    session_id = importer.new_session(createdAt=LONG_AGO)
    response = importer.update(session_id, newMessages=[message(**extra), message(created_at=LONG_AGO)])
    assert times(importer, session_id) == [response.json["updatedAt"], LONG_AGO]


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


def test_an_invalid_time_is_400_and_named(importer: Caller) -> None:
    session_id = importer.new_session()
    for given, contents in bad_times():
        created = importer.create(createdAt=given)
        assert (created.error, created.pointers) == ((400, "INVALID_REQUEST"), ["/createdAt"]), given
        assert contents in created.problem["detail"]
    for given, contents in [*bad_times(), (1554444428, "RFC 3339"), ({"a": 1}, "RFC 3339"), (True, "RFC 3339")]:
        for name, response in (
            ("newMessages", importer.update(session_id, newMessages=[message(), message(created_at=given)])),
            ("initialMessages", importer.create(initialMessages=[message(), message(created_at=given)])),
        ):
            assert (response.error, response.pointers) == ((400, "INVALID_REQUEST"), [f"/{name}/1/created_at"]), given
            assert contents in response.problem["detail"]
    assert importer.read(session_id)["total_messages"] == 0
    assert len(importer.list().json) == 1
    assert importer.create(createdAt=5).pointers == ["/createdAt"]
    assert importer.create(createdAt=None).status == 201


def test_without_the_scope_created_at_is_refused_for_sessions_and_replaced_for_messages(caller: Caller) -> None:
    refused = caller.create(createdAt=LONG_AGO)
    assert refused.error == (403, "SCOPE_MISSING")
    assert "sessions:import" in refused.problem["detail"]
    assert caller.create(createdAt="nonsense").error == (403, "SCOPE_MISSING")
    assert caller.list().json == []
    assert caller.create(createdAt=None).status == 201
    session_id = caller.new_session(initialMessages=[message(created_at=LONG_AGO)])
    assert times(caller, session_id) == [caller.read(session_id)["created_at"]]


def test_the_import_scope_alone_does_not_allow_writing(server: ServerProcess, caller: Caller) -> None:
    with caller.with_token(server.create_token(all_organisations=True, scopes=["sessions:import"])) as other:
        assert other.create(createdAt=LONG_AGO).error == (403, "SCOPE_MISSING")
        assert other.list().error == (403, "SCOPE_MISSING")


def test_an_import_repeated_with_its_key_has_one_effect(importer: Caller) -> None:
    body = as_json({"userId": "a", "createdAt": LONG_AGO, "initialMessages": [message(created_at=LONG_AGO)]})
    headers = JSON | {"Idempotency-Key": "import-1"}
    first, again = (importer.send("POST", importer.sessions, body, headers) for _ in range(2))
    assert (first.status, again.json) == (201, first.json)
    assert len(importer.list().json) == 1
