"""A full disk: writes are refused with the reason, reads continue, and writes resume when there is room."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.api_client import ApiClient, Response, user_messages
from tests.faults.disks import fill, small_disk_at
from tests.faults.soak import log_figures, soak_scaled
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

DISK_BYTES: Final = 16 * 1024 * 1024
SECONDS_BACK_MAX: Final = 5.0
REASON: Final = "The disk is full."


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    directory = tmp_path / "disk"
    directory.mkdir()
    with small_disk_at(directory, DISK_BYTES):
        yield directory


@pytest.fixture
def server(small_disk: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(f"sqlite:///{small_disk}/store.db", directory=tmp_path) as running:
        yield running


@pytest.fixture
def api(server: ServerProcess) -> Iterator[ApiClient]:
    with ApiClient(server.base_url, server.create_token("demo")) as connected:
        yield connected


def append(api: ApiClient, session: str, number: int) -> Response:
    """Append messages of several pages with an idempotency key."""
    body = {"newMessages": user_messages(f"{number}:{'.' * 20_000}")}
    return api.call("PUT", f"{api.path}/{session}", body, {"Idempotency-Key": f'"{number}"'})


def test_a_full_disk_refuses_writes_only_and_they_resume_by_themselves(
    small_disk: Path, server: ServerProcess, api: ApiClient
) -> None:
    session, other = api.create("zero"), api.create("first")
    pid, seconds_back, refused, number = server.pid, [], 0, 0
    for _ in range(soak_scaled(3, 30)):
        append(api, session, number).expect(200)
        ballast = fill(small_disk)
        while (response := append(api, session, number + 1)).status == 200:
            number += 1  # some writes still fitted into the log
        refused += 1
        assert (response.status, response.json["code"], response.json["detail"]) == (503, "STORE_UNAVAILABLE", REASON)
        for method, path, body in changes(api, other):
            assert api.call(method, path, body).status in {200, 201, 503}
        readiness = api.call("GET", "/health/ready").expect(503)
        assert readiness.json["detail"] == REASON
        api.call("GET", "/health/live").expect(200)
        assert numbers_in(api, session) == list(range(number + 1)), "what was acknowledged is read"
        api.call("GET", api.path).expect(200)

        ballast.unlink()
        started = time.monotonic()
        number += 1
        poll(lambda: append(api, session, number).status == 200, "a write that fits", seconds=30)  # noqa: B023
        seconds_back.append(time.monotonic() - started)
        api.call("GET", "/health/ready").expect(200)
        session, number = renewed(api, session, number)

    assert server.pid == pid, "the server was not restarted"
    assert max(seconds_back) <= SECONDS_BACK_MAX
    log_figures(
        refused=refused, **{"writes again after at most": f"{max(seconds_back):.2f} s", "acknowledged and lost": 0}
    )


def changes(api: ApiClient, session: str) -> list[tuple[str, str, object]]:
    """Return the other write requests."""
    return [
        ("POST", api.path, {"userId": "ada"}),
        ("PUT", f"{api.path}/{session}/extend", None),
        ("PUT", f"{api.path}/{session}", {"metadata": {"a": "." * 10_000}}),
    ]


def renewed(api: ApiClient, session: str, number: int) -> tuple[str, int]:
    """Check what is stored, and return the session and number for the next round."""
    assert numbers_in(api, session) == list(range(number + 1))
    return session, number


def numbers_in(api: ApiClient, session: str) -> list[int]:
    return [int(content.partition(":")[0]) for content in api.contents(session)[1:]]


def test_writes_acknowledged_before_the_disk_was_full_survive_a_crash(
    small_disk: Path, server: ServerProcess, api: ApiClient
) -> None:
    session, acknowledged = api.create("zero"), 0
    # The server's own data fills the disk.
    while (response := append(api, session, acknowledged)).status == 200:
        acknowledged += 1
    assert response.json["detail"] == REASON
    assert acknowledged > 100
    server.kill9()
    os.sync()
    (small_disk / "store.db").stat()
    server.start(wait=False)
    api.close()
    poll(lambda: is_alive(api), "a server that lives")
    assert numbers_in(api, session) == list(range(acknowledged))


def is_alive(api: ApiClient) -> bool:
    try:
        return api.call("GET", "/health/live").status == 200
    except OSError:
        return False
