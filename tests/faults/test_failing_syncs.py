"""Syncs that fail: what was acknowledged is visible, and there after a crash; what was not is whole or not there."""

import contextlib
from pathlib import Path

import apsw
import pytest

from tests.e2e.api_client import ApiClient, user_messages
from tests.faults.soak import dose, note
from tests.harness.fault_injection import failing
from tests.harness.processes import tail
from tests.harness.server import ServerProcess

pytestmark = pytest.mark.usefixtures("needs_fiu")

WRITES_A_RUN = 25
ATTEMPTS_MAX = 200
# Each sync in so many fails: the log's before every answer, the file's at every checkpoint.
PROBABILITY = 0.3


def test_what_was_acknowledged_while_syncs_failed_is_there_after_reopening(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    with ServerProcess(database, directory=tmp_path) as server:
        token = server.create_token("demo")
        with ApiClient(server.base_url, token) as api:
            session = api.create()
    acknowledged: list[str] = []
    refused, runs = 0, dose(20, 200)
    with ServerProcess(database, directory=tmp_path, environment=failing("posix/io/sync/*", PROBABILITY)) as server:
        for run in range(runs):
            with ApiClient(server.base_url, token) as api:
                for number in range(WRITES_A_RUN):
                    refused += insist(server, api, session, f"{run}:{number}")
                    acknowledged.append(f"{run}:{number}")
                visible = api.contents(session)
                # One more that nobody insists on: it may be there or not, and then for good.
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
    note(runs=runs, acknowledged=len(acknowledged), refused=refused, **{"lost or doubled": 0})


def insist(server: ServerProcess, api: ApiClient, session: str, content: str) -> int:
    """Append a message under its key until that is acknowledged; tell how often it was refused."""
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
