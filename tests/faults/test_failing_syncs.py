"""Syncs that fail: what was acknowledged is visible, and there after a crash; what was not is whole or not there."""

import contextlib
from pathlib import Path

import apsw
import pytest

from tests.e2e.calling import Caller, spoken
from tests.faults.doses import dose, note
from tests.harness.injecting import failing
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
        with Caller(server.base_url, token) as caller:
            session = caller.create()
    acknowledged: list[str] = []
    refused, runs = 0, dose(20, 200)
    with ServerProcess(database, directory=tmp_path, environment=failing("posix/io/sync/*", PROBABILITY)) as server:
        for run in range(runs):
            with Caller(server.base_url, token) as caller:
                for number in range(WRITES_A_RUN):
                    refused += insist(server, caller, session, f"{run}:{number}")
                    acknowledged.append(f"{run}:{number}")
                visible = caller.contents(session)
                # One more that nobody insists on: it may be there or not, and then for good.
                doubtful = f"{run}:doubtful"
                if caller.append(session, doubtful).status == 200:
                    acknowledged.append(doubtful)
                    visible = caller.contents(session)
                assert [content for content in visible if content in set(acknowledged)] == acknowledged
                server.kill9()
            server.start()
            assert_sound(tmp_path / "store.db")
            with Caller(server.base_url, token) as caller:
                found = caller.contents(session)
            assert found in (visible, [*visible, doubtful]), "reopened, the same is there"
            if len(found) > len(visible):
                acknowledged.append(doubtful)
    assert refused > runs, "syncs did fail"
    note(runs=runs, acknowledged=len(acknowledged), refused=refused, **{"lost or doubled": 0})


def insist(server: ServerProcess, caller: Caller, session: str, content: str) -> int:
    """Append a message under its key until that is acknowledged; tell how often it was refused."""
    key = {"Idempotency-Key": f'"{content}"'}
    for attempt in range(ATTEMPTS_MAX):
        answer = caller.call("PUT", f"{caller.path}/{session}", {"newMessages": spoken(content)}, key)
        if answer.status == 200:
            return attempt
        assert answer.status == 503, answer
    raise AssertionError(f"refused {ATTEMPTS_MAX} times\n{tail(server.log)}")


def assert_sound(file: Path) -> None:
    with contextlib.closing(apsw.Connection(str(file))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
