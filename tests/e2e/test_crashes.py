"""A server that dies in the middle of writes, and its database too: nothing acknowledged is missing afterwards."""

import time
from random import Random

import pytest

from tests.e2e.calling import Caller, first_token
from tests.e2e.loading import Writer, assert_all_there, load, wait_for_acknowledged
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess

WRITERS = 6
SESSIONS = 3
# Long enough for some batches, short enough for many cycles; the moment of the end is another one each time.
TURNS_A_CYCLE = 40


@pytest.mark.parametrize(
    ("engine", "cycles"), [("sqlite", 20), ("postgres-18", 5)], indirect=["engine"], ids=["sqlite", "postgres-18"]
)
def test_nothing_acknowledged_is_missing_after_kill_9(server: ServerProcess, caller: Caller, cycles: int) -> None:
    token = first_token(server)
    chance = Random(cycles)  # noqa: S311 - no secret
    sessions = [caller.create() for _ in range(SESSIONS)]
    everyone: list[Writer] = []
    for cycle in range(cycles):
        with load(server, token, sessions, f"{cycle}", WRITERS) as writers:
            everyone += writers
            wait_for_acknowledged(server, writers, chance.randrange(TURNS_A_CYCLE) + 1)
            time.sleep(chance.random() / 100)  # somewhere inside a batch
            server.kill9()
        server.start()
        caller.close()
        assert_all_there(caller, sessions, everyone)
    assert sum(len(writer.acknowledged) for writer in everyone) > cycles * WRITERS
    assert sum(writer.refused.total() for writer in everyone) == 0


def test_nothing_acknowledged_is_missing_after_postgresql_was_killed(
    own_postgres: PostgresServer, own_database: str
) -> None:
    with ServerProcess(own_database) as server, Caller(server.base_url, first_token(server)) as caller:
        sessions = [caller.create() for _ in range(SESSIONS)]
        everyone: list[Writer] = []
        for cycle in range(2):
            with load(server, first_token(server), sessions, f"{cycle}", WRITERS) as writers:
                everyone += writers
                wait_for_acknowledged(server, writers, TURNS_A_CYCLE)
                own_postgres.kill9()
                own_postgres.start()
                after = sum(len(writer.acknowledged) for writer in writers) + TURNS_A_CYCLE
                wait_for_acknowledged(server, writers, after)
            assert_all_there(caller, sessions, everyone)
        assert {status for writer in everyone for status in writer.refused} <= {503}


def test_nothing_acknowledged_is_missing_after_backends_were_terminated(
    own_postgres: PostgresServer, own_database: str
) -> None:
    with ServerProcess(own_database) as server, Caller(server.base_url, first_token(server)) as caller:
        sessions = [caller.create() for _ in range(SESSIONS)]
        with load(server, first_token(server), sessions, "0", WRITERS) as writers:
            for cycle in range(1, 6):
                wait_for_acknowledged(server, writers, cycle * TURNS_A_CYCLE)
                own_postgres.run_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            wait_for_acknowledged(server, writers, 6 * TURNS_A_CYCLE)
        assert_all_there(caller, sessions, writers)
        assert {status for writer in writers for status in writer.refused} <= {503}
