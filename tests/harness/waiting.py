"""Waiting with a bound: nothing in the suite sleeps and hopes."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class DeadlineExceededError(AssertionError):
    """What was awaited did not happen in time."""


class Deadline:
    """An instant by which something must have happened; started when made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the deadline was set."""
        return time.monotonic() - self._started

    @property
    def remaining(self) -> float:
        """Seconds left, never negative: fit for a `timeout=`."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.elapsed >= self.seconds

    def check(self, what: str) -> None:
        """Raise, naming what was awaited, once the time is up."""
        if self.passed:
            raise DeadlineExceededError(f"{what}: not within {self.seconds:g} s")


def poll(
    question: Callable[[], Result | None],
    what: str,
    *,
    seconds: float = 10.0,
    pause: float = 0.01,
) -> Result:
    """Ask until the answer is truthy, and return it; `what` names it when time runs out."""
    deadline = Deadline(seconds)
    while True:
        result = question()
        if result:
            return result
        deadline.check(what)
        time.sleep(pause)
