"""Running a function in a forked process, and what it returned or raised."""

import faulthandler
import multiprocessing
import os
import pickle
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_CHILD_SECONDS_MAX: Final = 45
"""How long a child may take; then it ends, and the traceback of each thread is reported."""

# The measuring of coverage takes a lock whenever code is new to it, and another thread may hold it during the fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: (sys.settrace(None), threading.settrace(None)))  # type: ignore[func-returns-value]

fork = multiprocessing.get_context("fork")


def in_child(function: Callable[[], Any]) -> Callable[[], Any]:
    """Fork, call the function in the child, and return what waits for its result; raises if it raised there."""
    reading, writing = os.pipe()
    descriptor, name = tempfile.mkstemp(prefix="stuck-child-")
    child = os.fork()
    if child == 0:  # pragma: no cover - the child is no process that is measured
        faulthandler.dump_traceback_later(_CHILD_SECONDS_MAX, exit=True, file=descriptor)
        try:
            content = pickle.dumps((True, function()))
        except BaseException:  # noqa: BLE001 - the parent raises it
            content = pickle.dumps((False, traceback.format_exc()))
        try:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(content)
        finally:
            # Whatever happens, the child must not go on with the tests of its parent.
            os._exit(0)
    os.close(writing)
    os.close(descriptor)

    def result() -> Any:
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
        os.waitpid(child, 0)
        stuck = Path(name).read_text()
        Path(name).unlink()
        assert content, f"the child said nothing:\n{stuck}"
        good, value = pickle.loads(content)  # noqa: S301 - our own
        assert good, value
        return value

    return result
