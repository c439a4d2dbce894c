"""SIGTERM under load, repeatedly: accepted requests are answered, and requests without a response are not applied."""

import time
from pathlib import Path

from tests.e2e.api_client import ApiClient
from tests.e2e.load import assert_all_there, load, wait_for_acknowledged
from tests.faults.soak import log_figures, soak_scaled
from tests.harness.server import ServerProcess

SECONDS_MAX = 10


def test_no_accepted_request_fails_when_a_server_is_stopped(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/store.db", directory=tmp_path) as server:
        stop_and_start([server], soak_scaled(3, 10))


def test_no_accepted_request_fails_when_one_of_two_servers_is_stopped(postgres_18_database: str) -> None:
    with ServerProcess(postgres_18_database) as first, ServerProcess(postgres_18_database) as second:
        stop_and_start([first, second], soak_scaled(3, 10))


def stop_and_start(servers: list[ServerProcess], times: int) -> None:
    token = servers[0].create_token("demo")
    seconds: list[float] = []
    for cycle in range(times):
        server = servers[cycle % len(servers)]
        with ApiClient(server.base_url, token) as api:
            sessions = [api.create() for _ in range(3)]
        with load(server, token, sessions, f"{cycle}", 8) as writers:
            wait_for_acknowledged(server, writers, 50)
            started = time.monotonic()
            assert server.terminate(SECONDS_MAX) == 0
            seconds.append(time.monotonic() - started)
        server.start()
        with ApiClient(server.base_url, token) as api:
            assert_all_there(api, sessions, writers)
            stored = {question for session in sessions for question in api.contents(session)[::2]}
        assert sum(writer.refused.total() for writer in writers) == 0, "no request was refused"
        reply = {f"{append}:asked" for writer in writers for append in writer.acknowledged}
        assert stored == reply, "exactly the acknowledged requests were applied"
    log_figures(stops=times, **{"accepted and failed": 0, "seconds to the end, at most": round(max(seconds), 2)})
