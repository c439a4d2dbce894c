"""The limit of open files is raised for the configured number of connections."""

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sessionary.server.listener import raise_file_limit


@pytest.fixture(autouse=True)
def low_file_limit() -> Iterator[None]:
    """A soft limit of 512 open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_sufficient_limit_is_not_changed() -> None:
    assert raise_file_limit(200) == 200
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 512


def test_the_limit_is_raised_up_to_the_hard_limit() -> None:
    assert raise_file_limit(600) == 600
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 856


@pytest.mark.parametrize(("hard", "connections"), [(700, 444), (200, 1)])
def test_a_lower_hard_limit_means_fewer_connections_and_a_warning(hard: int, connections: int) -> None:
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (150, {hard}));"
        "from sessionary.server.listener import raise_file_limit; print(raise_file_limit(600), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(connections), str(hard)]
    assert f"{connections} connections, not 600" in run.stderr
