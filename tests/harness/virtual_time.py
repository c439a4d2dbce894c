"""An event loop with a virtual clock, which jumps to the next timer instead of waiting for it.

Tests of timeouts and queues run on it: their outcome depends neither on the speed of the machine nor on its load. It suits
code that waits for timers and futures only; it cannot wait for a socket or a thread.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

Arguments = ParamSpec("Arguments")


class VirtualClock:
    """Seconds that pass only while every task waits."""

    def __init__(self) -> None:
        self.now = 0.0


class _JumpingSelector(selectors.SelectSelector):
    """Returns at once and advances the clock by the time that it was to wait."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock: Final = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("Every task waits and no timer is set: the test would hang.")
        self._clock.now += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of its virtual clock."""

    def __init__(self) -> None:
        self._virtual_clock: Final = VirtualClock()
        super().__init__(_JumpingSelector(self._virtual_clock))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual_clock.now


def on_virtual_time(test: Callable[Arguments, Coroutine[Any, Any, None]]) -> Callable[Arguments, None]:
    """Run an asynchronous test on a loop whose clock is virtual and begins at zero."""

    @functools.wraps(test)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
