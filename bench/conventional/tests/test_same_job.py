"""The conventional stack does the same job as sessionary: every test here runs against both, on both databases."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2 as httpx
import pytest

from bench.contenders.conventional import ConventionalPostgres, ConventionalSqlite
from bench.contenders.sessionary import SessionaryOnPostgres, SessionaryOnSqlite
from bench.contenders.workspace import Workspace
from bench.workloads.dialect import SessionsApi
from bench.workloads.service import Scale

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.contenders.over_http import HttpContender

TIMESTAMP_MEMBERS = {"created_at", "updated_at", "expires_at"}
TURN = [
    {"role": "user", "content": "Who is there?\nMe."},
    {"role": "assistant", "content": "“Nobody”, \u00e9\U0001f600"},
]

Session = dict[str, Any]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    directory: Path = tmp_path_factory.mktemp("workspace")
    workspace = Workspace(directory, Scale(pool_sessions=1, archive_sessions=120), with_archive=True)
    yield workspace
    workspace.close()


@pytest.fixture(
    scope="session",
    params=[ConventionalSqlite, ConventionalPostgres, SessionaryOnSqlite, SessionaryOnPostgres],
    ids=lambda contender: contender.name,
)
def contender(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[HttpContender]:
    contender: HttpContender = request.param(workspace)
    contender.start()
    contender.load_archive()
    yield contender
    contender.stop()


@pytest.fixture
def api(contender: HttpContender) -> Iterator[httpx.Client]:
    with client(contender, contender.service().dialect) as api:
        yield api


@pytest.fixture
def archive(contender: HttpContender) -> Iterator[httpx.Client]:
    with client(contender, contender.service().archive) as api:
        yield api


def client(contender: HttpContender, dialect: object) -> httpx.Client:
    assert isinstance(dialect, SessionsApi)
    host, port = contender.servers[0].address
    return httpx.Client(
        base_url=f"http://{host}:{port}/api/v3/organizations/{dialect.organisation}/ai",
        headers={"Authorization": f"Bearer {dialect.token}"},
        timeout=30,
    )


def create(api: httpx.Client, **fields: object) -> str:
    response = api.post("sessions", json={"userId": "ann", **fields})
    assert response.status_code == 201
    return str(response.json()["sessionId"])


def get(api: httpx.Client, session: str) -> Session:
    response = api.get(f"sessions/{session}")
    assert response.status_code == 200
    found: Session = response.json()
    return found


def parse_time(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def test_create_answers_with_the_id_and_the_expiry_asked_for(api: httpx.Client) -> None:
    response = api.post("sessions", json={"userId": "ann", "expirationMinutes": 90})
    created = response.json()
    assert response.status_code == 201
    assert created.keys() == {"sessionId", "status", "expiresAt", "createdAt"}
    assert created["status"] == "active"
    assert parse_time(created["expiresAt"]) - parse_time(created["createdAt"]) == timedelta(minutes=90)


def test_get_returns_what_was_created(api: httpx.Client) -> None:
    fields = {"userId": "bob", "sessionGroup": "g", "metadata": {"a": 1, "modelId": "m"}, "initialMessages": TURN}
    found = get(api, create(api, **fields))
    assert [{name: message[name] for name in ("role", "content")} for message in found["messages"]] == TURN
    assert all(parse_time(message["created_at"]) for message in found["messages"])
    assert (found["user_id"], found["session_group"], found["status"]) == ("bob", "g", "active")
    assert found["metadata"] == {"a": 1, "modelId": "m"}
    assert (found["title"], found["model"]) == ("Who is there?", "m")
    assert (found["total_messages"], found["total_tokens"]) == (2, 0)
    assert all(parse_time(found[member]) for member in TIMESTAMP_MEMBERS)


def test_an_update_appends_in_order_and_adds_up_tokens(api: httpx.Client) -> None:
    session = create(api, initialMessages=TURN)
    responses = [
        api.put(f"sessions/{session}", json={"newMessages": [{"role": "user", "content": text}], "tokensUsed": 5})
        for text in ("one", "two")
    ]
    assert [response.status_code for response in responses] == [200, 200]
    assert responses[1].json().keys() == {"sessionId", "status", "totalMessages", "totalTokens", "updatedAt"}
    assert (responses[1].json()["totalMessages"], responses[1].json()["totalTokens"]) == (4, 10)
    assert [message["content"] for message in get(api, session)["messages"]][2:] == ["one", "two"]


def test_further_members_of_a_message_are_kept(api: httpx.Client) -> None:
    session = create(api, initialMessages=[{"role": "user", "content": "x", "name": "ann", "metadata": {"n": 1}}])
    (message,) = get(api, session)["messages"]
    assert (message["name"], message["metadata"]) == ("ann", {"n": 1})


def test_metadata_is_merged_and_null_removes_a_key(api: httpx.Client) -> None:
    session = create(api, metadata={"kept": 1, "gone": 2})
    response = api.put(f"sessions/{session}", json={"metadata": {"gone": None, "new": 3}, "status": "completed"})
    assert response.json()["status"] == "completed"
    assert get(api, session)["metadata"] == {"kept": 1, "new": 3}


def test_a_title_comes_from_the_first_user_message_and_then_stays(api: httpx.Client) -> None:
    session = create(api)
    for text in ("first", "second"):
        api.put(f"sessions/{session}", json={"newMessages": [{"role": "user", "content": text}]})
    assert get(api, session)["title"] == "first"


def test_extensions_add_up(api: httpx.Client) -> None:
    session = create(api)
    before = parse_time(get(api, session)["expires_at"])
    responses = [api.put(f"sessions/{session}/extend", json=fields) for fields in ({"additionalMinutes": 5}, {})]
    assert responses[0].json().keys() == {"sessionId", "expiresAt", "message"}
    assert responses[0].json()["message"] == "Session extended by 5 minutes"
    assert parse_time(responses[1].json()["expiresAt"]) - before == timedelta(minutes=65)


def test_a_deleted_session_is_gone(api: httpx.Client) -> None:
    session = create(api, initialMessages=TURN)
    deleted = api.delete(f"sessions/{session}")
    assert (deleted.status_code, deleted.json()["message"]) == (200, "Session deleted successfully")
    assert [api.get(f"sessions/{session}").status_code, api.delete(f"sessions/{session}").status_code] == [404, 404]


def test_a_session_that_never_was_is_not_found(api: httpx.Client) -> None:
    assert api.get(f"sessions/{uuid4()}").status_code == 404
    assert api.put(f"sessions/{uuid4()}", json={"newMessages": TURN}).status_code == 404
    assert api.put(f"sessions/{uuid4()}/extend").status_code == 404


@pytest.mark.parametrize("token", ["Bearer wrong", ""])
def test_only_a_token_of_the_organisation_opens_it(api: httpx.Client, token: str) -> None:
    assert api.get("sessions", headers={"Authorization": token}).status_code == 401
    elsewhere = str(api.base_url).replace("/bench/", "/archive/")
    assert api.get(f"{elsewhere}sessions").status_code == 403


def test_a_list_is_newest_first_and_pages_by_offset(archive: httpx.Client) -> None:
    everyone = archive.get("sessions", params={"limit": 100}).json()
    later = archive.get("sessions", params={"limit": 100, "offset": 100}).json()
    ids = [session["id"] for session in everyone + later]
    assert len(set(ids)) == 120
    assert ids == sorted(ids, reverse=True)
    assert archive.get("sessions").json() == everyone[:50]


def test_a_list_is_narrowed_by_its_filters(api: httpx.Client) -> None:
    user, group = str(uuid4()), str(uuid4())
    grouped = create(api, userId=user, sessionGroup=group, model="m")
    alone = create(api, userId=user)

    def listed(**query: str) -> list[str]:
        return [session["id"] for session in api.get("sessions", params=query).json()]

    assert listed(userId=user) == [alone, grouped]
    assert listed(sessionGroup=group) == [grouped]
    assert listed(userId=user, model="m") == [grouped]
    assert listed(userId=user, status="completed") == []


def test_a_list_shows_the_same_members_and_no_messages(archive: httpx.Client) -> None:
    (session,) = archive.get("sessions", params={"limit": 1}).json()
    assert session.keys() == TIMESTAMP_MEMBERS | {
        *("id", "title", "model", "user_id", "session_group", "status"),
        *("total_messages", "total_tokens", "metadata"),
    }
    assert session["title"] == "How does one keep conversation number 0000119?"


async def test_appends_at_once_to_one_session_all_arrive(api: httpx.Client) -> None:
    session = create(api)
    limits = httpx.Limits(max_connections=16)
    async with httpx.AsyncClient(base_url=api.base_url, headers=api.headers, limits=limits, timeout=60) as concurrent:
        responses = await asyncio.gather(
            *(concurrent.put(f"sessions/{session}", json={"newMessages": TURN, "tokensUsed": 1}) for _ in range(64))
        )
    assert {response.status_code for response in responses} == {200}
    assert sorted(response.json()["totalMessages"] for response in responses) == list(range(2, 130, 2))
    found = get(api, session)
    assert (len(found["messages"]), found["total_messages"], found["total_tokens"]) == (128, 128, 64)
