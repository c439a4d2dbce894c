"""A higher scheduling priority for tests that measure time, so that they do not measure the machine's other load."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.harness.processes import children_of

_RAISED: Final = -15


@contextmanager
def raised_priority() -> Iterator[None]:
    """Raise the priority of this process and of the servers it started, which those it starts now inherit.

    Only root may do that, and needs it most: a build machine has other work. Without the right nothing changes.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _RAISED)
    except PermissionError:
        yield
        return
    try:
        _set_priority(_RAISED)
        yield
    finally:
        _set_priority(before)


def _set_priority(nice: int) -> None:
    for process in [os.getpid(), *_descendants(os.getpid())]:
        # Linux has a priority for each thread, and where it groups processes by session, one for each group.
        for thread in _threads(process):
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, thread, nice)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(f"{nice}\n", encoding="ascii")


def _threads(process: int) -> list[int]:
    try:
        return [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
    except FileNotFoundError:  # it ended meanwhile
        return []


def _descendants(process: int) -> list[int]:
    found = children_of(process)
    return found + [descendant for child in found for descendant in _descendants(child)]
