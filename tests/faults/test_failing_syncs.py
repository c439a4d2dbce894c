"""Failing syncs: acknowledged writes are visible and survive a crash, others are applied completely or not at all."""

import contextlib
from pathlib import Path

import apsw
import pytest

from tests.e2e.api_client import ApiClient, user_messages
from tests.faults.soak import log_figures, soak_scaled
from tests.harness.fault_injection import failing_system_calls
from tests.harness.processes import tail
from tests.harness.server import ServerProcess

pytestmark = pytest.mark.usefixtures("needs_fiu")

WRITES_A_RUN = 25
ATTEMPTS_MAX = 200
# The probability that a sync fails: of the log before each response, of the file at each checkpoint.
PROBABILITY = 0.3


def test_acknowledged_writes_survive_failing_syncs(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    with ServerProcess(database, directory=tmp_path) as server:
        token = server.create_token("demo")
        with ApiClient(server.base_url, token) as api:
            session = api.create()
    acknowledged: list[str] = []
    refused, runs = 0, soak_scaled(20, 200)
    with ServerProcess(
        database, directory=tmp_path, environment=failing_system_calls("posix/io/sync/*", PROBABILITY)
    ) as server:
        for run in range(runs):
            with ApiClient(server.base_url, token) as api:
                for number in range(WRITES_A_RUN):
                    refused += append_until_acknowledged(server, api, session, f"{run}:{number}")
                    acknowledged.append(f"{run}:{number}")
                visible = api.contents(session)
                # One more that is not repeated: it may be applied or not, but that must not change later.
                doubtful = f"{run}:doubtful"
                if api.append(session, doubtful).status == 200:
                    acknowledged.append(doubtful)
                    visible = api.contents(session)
                assert [content for content in visible if content in set(acknowledged)] == acknowledged
                server.kill9()
            server.start()
            assert_sound(tmp_path / "store.db")
            with ApiClient(server.base_url, token) as api:
                found = api.contents(session)
            assert found in (visible, [*visible, doubtful]), "reopened, the same is there"
            if len(found) > len(visible):
                acknowledged.append(doubtful)
    assert refused > runs, "syncs did fail"
    log_figures(runs=runs, acknowledged=len(acknowledged), refused=refused, **{"lost or doubled": 0})


def append_until_acknowledged(server: ServerProcess, api: ApiClient, session: str, content: str) -> int:
    """Append a message with an idempotency key until it is acknowledged; returns how often it was refused."""
    key = {"Idempotency-Key": f'"{content}"'}
    for attempt in range(ATTEMPTS_MAX):
        response = api.call("PUT", f"{api.path}/{session}", {"newMessages": user_messages(content)}, key)
        if response.status == 200:
            return attempt
        assert response.status == 503, response
    raise AssertionError(f"refused {ATTEMPTS_MAX} times\n{tail(server.log)}")


def assert_sound(file: Path) -> None:
    with contextlib.closing(apsw.Connection(str(file))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
