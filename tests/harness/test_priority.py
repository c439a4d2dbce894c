"""The raised priority reaches the servers of a test, and ends with it."""

import os
import subprocess
import sys

import pytest

from tests.harness.priority import raised_priority


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority")
def test_the_priority_is_raised_for_all_processes_of_a_test_and_lowered_again() -> None:
    sleeper = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", sleeper]) as before:
        with raised_priority(), subprocess.Popen([sys.executable, "-c", sleeper]) as during:
            assert {nice_of(0), nice_of(before.pid), nice_of(during.pid)} == {-15}
            during.kill()
        assert {nice_of(0), nice_of(before.pid)} == {0}
        before.kill()


def nice_of(process: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, process)
