"""The server and its database are killed under load: every request, repeated until answered, has one effect."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from random import Random

import pytest

from tests.e2e.api_client import ApiClient
from tests.faults.retrying_writers import Load, note_loads
from tests.faults.soak import soak_scaled
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

# Long enough for some batches and short enough for many cycles, with a random end.
REQUESTS_A_CYCLE = 60
SECONDS_BACK_MAX = 2.0

Harm = Callable[[PostgresServer, Random], None]


def wait_into_a_batch(load: Load, rng: Random) -> None:
    """Wait for some requests, and then for a random time, to be inside a batch."""
    load.wait_for_more(rng.randrange(REQUESTS_A_CYCLE) + 1)
    time.sleep(rng.random() / 100)


def test_every_request_has_one_effect_though_the_server_is_killed(sqlite_server: ServerProcess) -> None:
    token, rng = sqlite_server.create_token(all_organisations=True), Random(1)  # noqa: S311 - no secret
    loads: list[Load] = []
    for number in range(soak_scaled(20, 200)):
        with Load([sqlite_server], token, f"cycle-{number}") as load:
            wait_into_a_batch(load, rng)
            sqlite_server.kill9()
            sqlite_server.start()
            load.wait_for_more(REQUESTS_A_CYCLE // 4)
        load.assert_exactly_once(sqlite_server)
        loads.append(load)
    for load in loads:
        load.assert_exactly_once(sqlite_server)
    note_loads(loads, kills=len(loads))


def test_every_request_has_one_effect_though_one_of_two_servers_is_killed(server_pair: list[ServerProcess]) -> None:
    token, rng = server_pair[0].create_token(all_organisations=True), Random(2)  # noqa: S311 - no secret
    loads: list[Load] = []
    for number in range(soak_scaled(4, 20)):
        killed = server_pair[number % 2]
        with Load(server_pair, token, f"cycle-{number}") as load:
            wait_into_a_batch(load, rng)
            killed.kill9()
            load.wait_for_more(REQUESTS_A_CYCLE // 4)
            killed.start()
            load.wait_for_more(REQUESTS_A_CYCLE // 4)
        loads.append(load)
    for load in loads:
        for server in server_pair:
            load.assert_exactly_once(server)
    note_loads(loads, kills=len(loads))


def kill_all(postgres: PostgresServer, _: Random) -> None:
    postgres.kill9()
    postgres.start()


def kill_one_backend(postgres: PostgresServer, rng: Random) -> None:
    """Kill one backend: the postmaster then ends all the others and recovers."""
    os.kill(rng.choice(backends(postgres)), signal.SIGKILL)


def terminate_backends(postgres: PostgresServer, _: Random) -> None:
    postgres.run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sessionary'")


HARMS: dict[str, tuple[Harm, int, int]] = {
    "all of it killed": (kill_all, 5, 50),
    "a backend killed": (kill_one_backend, 5, 50),
    "backends terminated": (terminate_backends, 4, 20),
}


@pytest.mark.parametrize(("harm", "small", "long"), HARMS.values(), ids=HARMS)
def test_every_request_has_one_effect_though_postgresql_is_killed(
    own_postgres: PostgresServer, server_pair: list[ServerProcess], harm: Harm, small: int, long: int
) -> None:
    token, rng = server_pair[0].create_token(all_organisations=True), Random(3)  # noqa: S311 - no secret
    pids = [server.pid for server in server_pair]
    loads: list[Load] = []
    seconds_back: list[float] = []
    for number in range(soak_scaled(small, long)):
        with Load(server_pair, token, f"cycle-{number}") as load:
            wait_into_a_batch(load, rng)
            harm(own_postgres, rng)
            seconds_back.append(seconds_until_served(own_postgres, server_pair, token))
            load.wait_for_more(REQUESTS_A_CYCLE // 4)
        loads.append(load)
    for load, server in islice(zip(loads, cycle(server_pair), strict=False), len(loads)):
        load.assert_exactly_once(server)
    assert [server.pid for server in server_pair if server.running] == pids, "the servers were not restarted"
    note_loads(loads, harmed=len(loads), **{"seconds until served again, at most": round(max(seconds_back), 2)})
    assert max(seconds_back) <= SECONDS_BACK_MAX


def backends(postgres: PostgresServer) -> list[int]:
    pids = postgres.run_sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'sessionary'")
    return [int(pid) for pid in pids.splitlines()]


def seconds_until_served(postgres: PostgresServer, servers: Sequence[ServerProcess], token: str) -> float:
    """Return the seconds from when the database is back until each server reads and writes."""
    poll(lambda: takes_connections(postgres), "a database that is back", seconds=30)
    started = time.monotonic()
    for server in servers:
        with ApiClient(server.base_url, token) as api:
            poll(lambda api=api: serves(api), "a server that serves again", seconds=30)  # type: ignore[misc]
    return time.monotonic() - started


def takes_connections(postgres: PostgresServer) -> bool:
    try:
        return postgres.run_sql("SELECT 1") == "1"
    except AssertionError:
        return False


def serves(api: ApiClient) -> bool:
    """Whether a server reads and writes."""
    created = api.call("POST", api.path, {"userId": "after"})
    return created.status == 201 and api.call("GET", f"{api.path}/{created.json['sessionId']}").status == 200
