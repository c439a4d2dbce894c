"""Room among a process's files for the connections that an operator wants."""

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sessionary.server.listener import room_for


@pytest.fixture(autouse=True)
def with_few_files() -> Iterator[None]:
    """A process that may open 512 files unless it asks for more, as most may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_where_there_is_room_nothing_is_changed() -> None:
    assert room_for(200) == 200
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 512


def test_what_the_hard_limit_allows_is_asked_for() -> None:
    assert room_for(600) == 600
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 856


@pytest.mark.parametrize(("hard", "room"), [(700, 444), (200, 1)])
def test_where_the_hard_limit_is_lower_fewer_connections_are_taken_and_it_is_said(hard: int, room: int) -> None:
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (150, {hard}));"
        "from sessionary.server.listener import room_for; print(room_for(600), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(room), str(hard)]
    assert f"{room} connections, not 600" in run.stderr
