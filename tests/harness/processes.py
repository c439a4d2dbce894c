"""Starting and stopping the programs of tests, so that none survives the tests."""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.harness.waiting import poll

# Below Linux's ephemeral range: a port from inside it may become the source port of a connection that another
# test opens, in the time between choosing the port and listening on it.
_PORTS = range(20_000, 32_000)
_PR_SET_PDEATHSIG = 1

# Looked up before any fork: between fork and exec nothing may allocate or import.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def free_port() -> int:
    """Return a TCP port that nothing on 127.0.0.1 listens on."""
    for _ in range(200):
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free TCP port on 127.0.0.1")


def dies_with_parent(with_signal: signal.Signals) -> Callable[[], None]:
    """Return a `preexec_fn` that has the kernel send the child this signal when the test process is gone.

    The kernel counts the end of the *thread* that started the child as its parent's end: start programs from
    the main thread, or from one that lives as long as they do.
    """

    def ask_the_kernel() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, int(with_signal))

    return ask_the_kernel


def children_of(pid: int) -> list[int]:
    """Return the direct children of a process, from every one of its threads."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.extend(int(child) for child in listing.read_text().split())
        except OSError:  # the thread ended while we looked
            continue
    return found


def state_of(pid: int) -> str:
    """Return the kernel's letter for a process's state: `T` is stopped, `X` not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def is_running(pid: int) -> bool:
    """Whether a process is running; a zombie is not."""
    return state_of(pid) not in "XZ"


def freeze_family(pid: int) -> list[int]:
    """Stop a process and its children, and return them all, the parent first, when all stand still.

    The parent stops before its children are counted, so that it cannot start another one meanwhile.
    """
    _freeze([pid])
    children = children_of(pid)
    _freeze(children)
    return [pid, *children]


def thaw(pids: Sequence[int]) -> None:
    """Resume stopped processes."""
    for pid in pids:
        _send(pid, signal.SIGCONT)


def kill9_family(pid: int) -> None:
    """Kill -9 a process and its children, and return when all are gone."""
    family = freeze_family(pid)
    for member in family:
        _send(member, signal.SIGKILL)
    poll(lambda: not any(map(is_running, family)), f"the end of {len(family)} killed processes")


def tail(log: Path, lines: int = 40) -> str:
    """Return the end of a log, for a message about what went wrong."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def _freeze(pids: Sequence[int]) -> None:
    for pid in pids:
        _send(pid, signal.SIGSTOP)
    poll(lambda: all(state_of(pid) in "TXZ" for pid in pids), "processes that stand still")


def _send(pid: int, signal_: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, signal_)
