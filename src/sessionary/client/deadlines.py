"""The deadline of a call, and what its current attempt is waiting for, so that an error can report it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

CONNECTING: Final = "connecting"
HANDSHAKE: Final = "handshake"
SENDING: Final = "sending"
WAITING: Final = "waiting"


class Deadline:
    """When an attempt must have ended, by the client's clock, and how far it has come."""

    def __init__(self, clock: Callable[[], float], ends_at: float | None) -> None:
        """Use this clock; ``ends_at`` None means no limit."""
        self._clock: Final = clock
        self._ends_at: Final = ends_at
        self.phase: str = ""
        self.host: str = ""
        """The host of the last TLS handshake."""

    def limit(self, seconds: float | None) -> float | None:
        """Shorten a wait to the time that is left, zero or less if there is none."""
        if self._ends_at is None:
            return seconds
        left = self._ends_at - self._clock()
        return left if seconds is None else min(seconds, left)


_current: ContextVar[Deadline | None] = ContextVar("sessionary_deadline", default=None)


@contextmanager
def deadline_context(deadline: Deadline) -> Iterator[None]:
    """Apply a deadline to every wait inside, and record there what each wait is for."""
    before = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(before)


def is_call_running() -> bool:
    """Return whether an attempt of a client is running in this context."""
    return _current.get() is not None


def record_phase(phase: str, host: str = "") -> None:
    """Record how far the running attempt has come."""
    deadline = _current.get()
    if deadline is not None:
        deadline.phase = phase
        deadline.host = host or deadline.host


def current_deadline() -> Deadline | None:
    """Return the deadline of the running attempt, if there is one."""
    return _current.get()
