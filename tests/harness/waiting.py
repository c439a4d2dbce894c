"""Waiting for conditions, with a time limit."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class DeadlineExceededError(AssertionError):
    """A condition was not fulfilled in time."""


class Deadline:
    """A time limit that starts when it is created."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the deadline was set."""
        return time.monotonic() - self._started

    @property
    def remaining(self) -> float:
        """The remaining seconds, never negative."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.elapsed >= self.seconds

    def check(self, what: str) -> None:
        """Raise an error that names what was awaited if the time is up."""
        if self.passed:
            raise DeadlineExceededError(f"{what}: not within {self.seconds:g} s")


def poll(
    condition: Callable[[], Result | None],
    what: str,
    *,
    seconds: float = 10.0,
    pause: float = 0.01,
) -> Result:
    """Call `condition` until its result is true, and return it; `what` names it in the error after a timeout."""
    deadline = Deadline(seconds)
    while True:
        result = condition()
        if result:
            return result
        deadline.check(what)
        time.sleep(pause)
