"""Taking turns: whoever is alone is, and is not kept waiting by those who come and go."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.harness.machine_lock import turn


def test_whoever_is_alone_is_and_has_its_turn(tmp_path: Path) -> None:
    inside: list[bool] = []
    crowds: list[tuple[bool, ...]] = []
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            with turn(tmp_path, alone=False):
                inside.append(False)
                time.sleep(0.001)
                crowds.append(tuple(inside))
                inside.remove(False)

    crowd = [threading.Thread(target=come_and_go) for _ in range(4)]
    for each in crowd:
        each.start()
    try:
        for _ in range(20):
            with turn(tmp_path, alone=True):
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
    assert any(len(together) > 1 for together in crowds), "the others work beside each other"


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("alone", [False, True])
def test_a_process_that_was_forked_in_a_turn_does_not_prolong_it(tmp_path: Path, *, alone: bool) -> None:
    with turn(tmp_path, alone=alone):
        child = os.fork()
        if child == 0:  # pragma: no cover - the child is no process that is measured
            signal.pause()
            os._exit(0)
    try:
        with turn(tmp_path, alone=True):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
