"""Running a function in a forked process, and what it returned or raised."""

import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any

fork = multiprocessing.get_context("fork")


def in_child(function: Callable[[], Any]) -> Callable[[], Any]:
    """Fork, call the function in the child, and return what waits for its result; raises if it raised there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child is no process that is measured
        try:
            told = (True, function())
        except BaseException:  # noqa: BLE001 - it is told to the parent
            told = (False, traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(told))
        os._exit(0)
    os.close(writing)

    def result() -> Any:
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
        os.waitpid(child, 0)
        good, value = pickle.loads(content)  # noqa: S301 - our own
        assert good, value
        return value

    return result
