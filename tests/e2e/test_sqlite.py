"""A running server on SQLite: locks of other programs, and disks that refuse writes."""

import contextlib
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient, first_token, user_messages
from tests.e2e.database import count_rows, write_lock
from tests.e2e.load import assert_all_there, load, wait_for_acknowledged
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

STORE_SECONDS = 1.0


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sessionary.db"


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(database, "--store-seconds", str(STORE_SECONDS), directory=tmp_path) as running:
        yield running


def test_a_lock_of_another_program_refuses_writes_in_time_and_never_reads(
    server: ServerProcess, api: ApiClient, database: str
) -> None:
    session = api.create("one")
    with write_lock(database):
        for method, path, body in (
            ("PUT", f"{api.path}/{session}", {"newMessages": user_messages("lost")}),
            ("PUT", f"{api.path}/{session}/extend", None),
            ("DELETE", f"{api.path}/{session}", None),
            ("POST", api.path, {"userId": "ada"}),
        ):
            started = time.monotonic()
            refused = api.call(method, path, body).expect(503)
            assert time.monotonic() - started < STORE_SECONDS + 0.5
            assert "Retry-After" not in refused.headers
            assert refused.json["code"] == "STORE_UNAVAILABLE"
            assert api.contents(session) == ["one"]
            api.call("GET", "/health/ready").expect(503)
    api.append(session, "two").expect(200)
    api.call("GET", "/health/ready").expect(200)
    assert api.contents(session) == ["one", "two"]
    assert count_rows(database, "sessions") == 1
    assert "database is locked" in server.log.read_text(), "the log says why"


def test_a_file_size_limit_refuses_writes_and_not_reads(server: ServerProcess, api: ApiClient) -> None:
    token = first_token(server)
    sessions = [api.create("one") for _ in range(3)]
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    limit = 512 * 1024
    with contextlib.closing(ApiClient(server.base_url, token)) as reader:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        refused = poll(
            lambda: response if (response := api.append(sessions[0], "x" * 30_000)).status != 200 else None,
            "a write that finds no room",
            pause=0,
        )
        assert (refused.status, refused.json["code"]) == (503, "STORE_UNAVAILABLE")
        stored = reader.contents(sessions[0])
        assert set(stored) == {"one", "x" * 30_000}
        api.call("POST", api.path, {"userId": "x", "initialMessages": user_messages("x" * 600_000)}).expect(503)
        assert server.running
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)

        api.append(sessions[0], "room again").expect(200)
        assert reader.contents(sessions[0]) == [*stored, "room again"]
    server.restart()
    api.close()
    assert api.contents(sessions[0]) == [*stored, "room again"]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Return a function that makes the folder read-only, as a file system with errors becomes."""
    place = tmp_path / "data"
    place.mkdir()
    mounted: list[Path] = []

    def mount_read_only() -> None:
        for words in (["--bind", str(place), str(place)], ["-o", "remount,bind,ro", str(place)]):
            done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
            mounted.append(place)

    yield mount_read_only
    if mounted:
        subprocess.run(["umount", "-l", place], check=True)


def test_readiness_reports_a_folder_that_became_read_only_without_any_write(
    tmp_path: Path, read_only: Callable[[], None]
) -> None:
    database = f"sqlite:///{tmp_path}/data/store.db"
    with (
        ServerProcess(database, directory=tmp_path) as server,
        ApiClient(server.base_url, first_token(server)) as api,
    ):
        api.call("GET", "/health/ready").expect(200)
        read_only()
        # After the last write is too long ago to count.
        poll(lambda: api.call("GET", "/health/ready").status == 503, "a server that is not ready", seconds=30)
        assert api.call("GET", "/health/ready").json["detail"] == "The database is read-only."
        api.call("GET", api.path).expect(200)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB; skips if mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_reported_and_no_acknowledged_write_is_lost(small_disk: Path, tmp_path: Path) -> None:
    with (
        ServerProcess(f"sqlite:///{small_disk}/store.db", directory=tmp_path) as server,
        ApiClient(server.base_url, first_token(server)) as api,
    ):
        sessions = [api.create() for _ in range(2)]
        filling = small_disk / "filling"
        with load(server, first_token(server), sessions, "before", 3) as writers:
            wait_for_acknowledged(server, writers, 20)
            with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            poll(lambda: sum(writer.refused[503] for writer in writers) > 3, "writes that find no room")
        refused = api.append(sessions[0], "x" * 100_000).expect(503)
        assert refused.json["detail"] in {
            "The disk is full.",
            "The store did not confirm the request: it was applied whole or not at all; try again.",
        }
        assert_all_there(api, sessions, writers)

        filling.unlink()
        with load(server, first_token(server), sessions, "after", 3) as later:
            wait_for_acknowledged(server, later, 20)
        assert sum(writer.refused.total() for writer in later) == 0
        server.restart()
        api.close()
        assert_all_there(api, sessions, [*writers, *later])
