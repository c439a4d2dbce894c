"""The machine lock: an exclusive holder is alone, and is not starved by shared holders."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.harness.machine_lock import machine_lock


def test_an_exclusive_holder_is_alone_and_is_not_starved(tmp_path: Path) -> None:
    inside: list[bool] = []
    crowds: list[tuple[bool, ...]] = []
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            with machine_lock(tmp_path, exclusive=False):
                inside.append(False)
                time.sleep(0.001)
                crowds.append(tuple(inside))
                inside.remove(False)

    crowd = [threading.Thread(target=come_and_go) for _ in range(4)]
    for each in crowd:
        each.start()
    try:
        for _ in range(20):
            with machine_lock(tmp_path, exclusive=True):
                inside.append(True)
                time.sleep(0.001)
                crowds.append(tuple(inside))
                inside.remove(True)
    finally:
        ended.set()
        for each in crowd:
            each.join()
    assert crowds.count((True,)) == 20
    assert not [together for together in crowds if True in together and len(together) > 1]
    assert any(len(together) > 1 for together in crowds), "shared holders run at the same time"


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_process_forked_while_holding_the_lock_does_not_keep_it(tmp_path: Path, *, exclusive: bool) -> None:
    with machine_lock(tmp_path, exclusive=exclusive):
        child = os.fork()
        if child == 0:  # pragma: no cover - the child is no process that is measured
            signal.pause()
            os._exit(0)
    try:
        with machine_lock(tmp_path, exclusive=True):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
