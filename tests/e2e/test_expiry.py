"""Expired sessions are invisible to every operation even without the sweeper, and the sweeper deletes them."""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from sessionary.server.http.application import Application
from sessionary.server.operations.context import Service
from sessionary.server.operations.expiry import sweep
from sessionary.server.operations.session_ids import SessionIdGenerator
from sessionary.server.operations.tokens import TokenIssuer, create_token
from sessionary.server.store.base import Store
from sessionary.server.store.opening import migrate, open_store
from tests.conformance.builders import DAY, HORIZON, MINUTE, START_TIME, ManualClock
from tests.e2e.api_client import ApiClient, first_token
from tests.e2e.database import count_orphans, count_rows
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

COLLECTION = "/api/v3/organizations/demo/ai/sessions"
# All requests for a session: method, end of the path, and body.
WAYS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("HEAD", "", None),
    ("GET", "?messagesLimit=1", None),
    ("GET", "?messagesOffset=0", None),
    ("PUT", "", {}),
    ("PUT", "", {"newMessages": [{"role": "user", "content": "late"}], "tokensUsed": 7}),
    ("PUT", "", {"status": "completed", "metadata": {"late": True}, "title": "Late", "model": "late"}),
    ("PUT", "/extend", None),
    ("PUT", "/extend", {"additionalMinutes": 1440}),
    ("DELETE", "", None),
]
FILTERS = [
    "",
    "userId=ada",
    "sessionGroup=friends",
    "model=tiny",
    "status=active",
    "userId=ada&model=tiny&status=active",
]
UNKNOWN = "00000000-0000-7000-8000-000000000000"


def described(minutes: int) -> dict[str, Any]:
    return {
        "userId": "ada",
        "sessionGroup": "friends",
        "model": "tiny",
        "expirationMinutes": minutes,
        "initialMessages": [{"role": "user", "content": f"{minutes}"}],
    }


# ------------------------------------------------------------------- in this process, with a clock in milliseconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(database: str, clock: ManualClock) -> AsyncIterator[Store]:
    await migrate(database, START_TIME)
    opened = await open_store(database, clock)
    yield opened
    await opened.close()


@pytest.fixture
async def client(store: Store, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    """The application, called without a network, and with the test's clock."""
    _, token = await create_token(TokenIssuer(store, clock, secrets.token_bytes), "demo", "test")
    service = Service(store, clock, SessionIdGenerator(clock, secrets.randbits), HORIZON)
    application = Application(service, request_ids=lambda: "id", on_response=lambda _: None)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application),
        base_url="http://in.process",
        headers={"Authorization": f"Bearer {token}"},
    ) as calling:
        yield calling


async def create(client: httpx.AsyncClient, minutes: int) -> str:
    response = await client.post(COLLECTION, json=described(minutes))
    assert response.status_code == 201
    return str(response.json()["sessionId"])


async def listed_by_offset(client: httpx.AsyncClient, filters: str) -> list[str]:
    found: list[str] = []
    while True:
        response = await client.get(f"{COLLECTION}?{filters}&limit=2&offset={len(found)}".replace("?&", "?"))
        assert response.status_code == 200
        page = [session["id"] for session in response.json()]
        assert ("link" in response.headers) == (len(page) == 2 and await _more(client, filters, len(found) + 2))
        found += page
        if len(page) < 2:
            return found


async def _more(client: httpx.AsyncClient, filters: str, offset: int) -> bool:
    response = await client.get(f"{COLLECTION}?{filters}&limit=1&offset={offset}".replace("?&", "?"))
    return bool(response.json())


async def listed_by_cursor(client: httpx.AsyncClient, filters: str) -> list[str]:
    found: list[str] = []
    path = f"{COLLECTION}?{filters}&limit=2".replace("?&", "?")
    while True:
        response = await client.get(path)
        assert response.status_code == 200
        found += [session["id"] for session in response.json()]
        if "next" not in response.links:
            return found
        path = response.links["next"]["url"]


async def assert_seen(client: httpx.AsyncClient, expected: list[str]) -> None:
    for filters in FILTERS:
        assert await listed_by_offset(client, filters) == expected, filters
        assert await listed_by_cursor(client, filters) == expected, filters


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0]} {way[1]} {list(way[2] or ())}")
async def test_no_operation_finds_a_session_after_it_expired(
    client: httpx.AsyncClient, clock: ManualClock, way: tuple[str, str, dict[str, Any] | None]
) -> None:
    method, end, body = way
    early, late = await create(client, 5), await create(client, 5)

    clock.move(5 * MINUTE - 1)
    seen = await client.request(method, f"{COLLECTION}/{early}{end}", json=body)
    clock.move(1)
    expired = await client.request(method, f"{COLLECTION}/{late}{end}", json=body)
    missing = await client.request(method, f"{COLLECTION}/{UNKNOWN}{end}", json=body)

    assert seen.status_code == 200
    assert expired.status_code == 404
    assert (expired.content, expired.headers) == (missing.content, missing.headers), "as if it had never existed"


async def test_lists_by_offset_and_cursor_agree_while_sessions_expire(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    minutes = [5, 60, 7, 60, 5, 6, 60, 5, 7, 6, 60]
    lives = [(await create(client, live), live) for live in minutes]
    for now in (0, 5, 6, 7, 60):
        clock.now = START_TIME + now * MINUTE
        await assert_seen(client, [session for session, live in reversed(lives) if live > now])


async def test_the_cursor_of_an_expired_session_still_works(client: httpx.AsyncClient, clock: ManualClock) -> None:
    lives = [await create(client, minutes) for minutes in (60, 60, 5, 60)]
    first = await client.get(f"{COLLECTION}?limit=2")
    assert [session["id"] for session in first.json()] == [lives[3], lives[2]]

    clock.move(5 * MINUTE)

    second = await client.get(first.links["next"]["url"])
    assert [session["id"] for session in second.json()] == [lives[1], lives[0]]


async def test_expired_rows_are_invisible_until_a_sweep_deletes_them_with_their_messages(
    client: httpx.AsyncClient, clock: ManualClock, store: Store, database: str
) -> None:
    dying, staying, extended = [await create(client, minutes) for minutes in (5, 60, 5)]
    assert (await client.put(f"{COLLECTION}/{extended}/extend")).status_code == 200

    clock.move(5 * MINUTE)
    await assert_seen(client, [extended, staying])
    assert await asyncio.to_thread(rows, database) == (3, 3, 0)
    assert await sweep(store) == 1

    assert await asyncio.to_thread(rows, database) == (2, 2, 0)
    await assert_seen(client, [extended, staying])
    clock.move(DAY)
    assert await sweep(store) == 2
    assert await asyncio.to_thread(rows, database) == (0, 0, 0)
    assert dying not in await listed_by_cursor(client, "")


# ------------------------------------------------------------------------------ real servers under libfaketime


@pytest.mark.usefixtures("needs_faketime")
@pytest.mark.parametrize("engine", ["sqlite", "postgres-18"], indirect=True)
def test_a_running_server_finds_no_expired_session_after_its_clock_moved(database: str, tmp_path: Path) -> None:
    unswept = ServerProcess(database, "--sweep-seconds", "3600", directory=tmp_path, movable_clock=True)
    with unswept as server, ApiClient(server.base_url, first_token(server)) as api:
        dying = api.create(**described(5))
        staying = api.create(**described(60))
        extended = api.create(**described(5))
        api.call("PUT", f"{api.path}/{extended}/extend").expect(200)
        assert server.clock is not None
        assert listed(api) == [extended, staying, dying]

        server.clock.move(5 * 60 + 1)

        for method, end, body in WAYS:
            response = api.call(method, f"{api.path}/{dying}{end}", body)
            assert response.status == 404, (method, end, body)
            assert method == "HEAD" or response.json["code"] == "SESSION_NOT_FOUND"
        for filters in FILTERS:
            assert listed(api, filters) == [extended, staying], filters
            assert listed(api, f"{filters}&offset=1".lstrip("&")) == [staying], filters
        first_page = api.call("GET", f"{api.path}?limit=1").expect(200)
        following = str(first_page.headers["Link"]).partition("<")[2].partition(">")[0]
        last_page = api.call("GET", following).expect(200)
        assert [session["id"] for session in first_page.json + last_page.json] == [extended, staying]
        assert last_page.headers["Link"] is None
        assert count_rows(database, "sessions") == 3, "the sweeper has not been here"


@pytest.mark.usefixtures("needs_faketime")
@pytest.mark.parametrize("engine", ["sqlite", "postgres-18"], indirect=True)
def test_the_sweeper_deletes_messages_with_their_sessions(database: str, tmp_path: Path) -> None:
    sweeping = ServerProcess(database, "--sweep-seconds", "0.1", directory=tmp_path, movable_clock=True)
    with sweeping as server, ApiClient(server.base_url, first_token(server)) as api:
        staying = api.create("one", expirationMinutes=60)
        for _ in range(8):
            api.append(api.create("one", expirationMinutes=5), "two").expect(200)
        assert rows(database) == (9, 17, 0)
        assert server.clock is not None

        server.clock.move(5 * 60 + 1)

        poll(lambda: count_rows(database, "sessions") == 1, "a sweep", pause=0.05)
        assert rows(database) == (1, 1, 0)
        assert api.contents(staying) == ["one"]


@pytest.mark.usefixtures("needs_faketime")
def test_two_servers_can_sweep_one_postgresql_database_at_once(postgres_18: PostgresServer, tmp_path: Path) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(postgres_18.database())
        servers = [
            stack.enter_context(
                ServerProcess(
                    database, "--sweep-seconds", "0.05", directory=_directory(tmp_path, name), movable_clock=True
                )
            )
            for name in ("one", "two")
        ]
        token = first_token(servers[0])
        callers = [stack.enter_context(ApiClient(server.base_url, token)) for server in servers]
        staying = [api.create("one", expirationMinutes=1440) for api in callers]
        _fill(servers, token, 1_200)
        assert count_rows(database, "sessions") == 1_202

        stopped = threading.Event()
        appended = [0, 0]

        def write(number: int) -> None:
            while not stopped.is_set():
                callers[number].append(staying[number], "more").expect(200)
                appended[number] += 1

        writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
        for writer in writers:
            writer.start()
        for server in servers:
            assert server.clock is not None
            server.clock.move(5 * 60 + 1)
        try:
            poll(lambda: count_rows(database, "sessions") == 2, "the end of both sweeps", seconds=20, pause=0.05)
        finally:
            stopped.set()
            for writer in writers:
                writer.join()

        assert [len(callers[number].contents(staying[number])) - 1 for number in range(2)] == appended
        assert rows(database) == (2, 2 + sum(appended), 0)
        logged = [line for server in servers for line in server.log_lines()]
        assert [line for line in logged if '"level":"error"' in line or '"level":"warning"' in line] == []
        assert sum(int(line.partition("Swept ")[2].split()[0]) for line in logged if "Swept " in line) == 1_200


def listed(api: ApiClient, query: str = "") -> list[str]:
    response = api.call("GET", f"{api.path}?{query}".rstrip("?")).expect(200)
    return [session["id"] for session in response.json]


def rows(database: str) -> tuple[int, int, int]:
    """Count sessions, message blocks, and message blocks without a session."""
    return count_rows(database, "sessions"), count_rows(database, "message_blocks"), count_orphans(database)


def _directory(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


def _fill(servers: list[ServerProcess], token: str, sessions: int) -> None:
    writers = 8

    def write(number: int) -> None:
        with ApiClient(servers[number % len(servers)].base_url, token) as api:
            for _ in range(sessions // writers):
                api.create("one", expirationMinutes=5)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
