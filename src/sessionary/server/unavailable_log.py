"""Why requests are answered with 503: one line for each cause and minute in the log, and how many more there were."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from typing import Final

from sessionary.errors import SessionaryError

WINDOW_SECONDS: Final = 60.0
_CAUSES_MAX: Final = 50
_CHAIN_MAX: Final = 4
_REASON_LENGTH_MAX: Final = 300
_MANY: Final = "more causes than are counted one by one"

_logger: Final = logging.getLogger("sessionary.server.unavailable")

After = Callable[[float, Callable[[str], None], str], object]


class UnavailableLog:
    """Logs why a request was refused with 503: at once, and then once a minute for as long as it goes on."""

    def __init__(self, after: After | None = None) -> None:
        """Wait for the end of a minute by ``after``, which is the event loop's ``call_later`` if it is not given."""
        self._after: Final = after
        self._counts: Final = dict[str, int]()

    def __call__(self, error: SessionaryError) -> None:
        """Note a request that was refused."""
        cause = f"{error.code}: {reason_of(error)}"
        count = self._counts.get(cause)
        if count is None and len(self._counts) >= _CAUSES_MAX:
            cause = _MANY
            count = self._counts.get(cause)
        if count is not None:
            self._counts[cause] = count + 1
            return
        self._counts[cause] = 0
        _logger.warning("A request was answered with 503 %s.", cause, extra={"fields": {"cause": cause}})
        self._wait(cause)

    def flush(self) -> None:
        """Tell of what was counted since the last line of each cause."""
        for cause, count in self._counts.items():
            _report(cause, count)
        self._counts.clear()

    def _wait(self, cause: str) -> None:
        after = self._after or asyncio.get_running_loop().call_later
        after(WINDOW_SECONDS, self._end_window, cause)

    def _end_window(self, cause: str) -> None:
        count = self._counts.pop(cause, 0)
        if count:
            _report(cause, count)
            self._counts[cause] = 0
            self._wait(cause)


def _report(cause: str, count: int) -> None:
    if count:
        _logger.warning(
            "%d more requests were answered with 503 %s, in the last minute.",
            count,
            cause,
            extra={"fields": {"cause": cause, "count": count}},
        )


def reason_of(error: SessionaryError) -> str:
    """Say what an operator is told of an error: its reason, or else the kinds of errors that led to it.

    Never their texts, which may hold values of a statement or of a caller.
    """
    reason: str = getattr(error, "reason", "") or " because of ".join(map(_kind_of, _chain(error)))
    return " ".join(reason.rstrip(".").split())[:_REASON_LENGTH_MAX]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_CHAIN_MAX):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _kind_of(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    number = error.errno if isinstance(error, OSError) else None
    more = f" {state}" if isinstance(state, str) else f" ({os.strerror(number)})" if number else ""
    return f"{type(error).__name__}{more}"
