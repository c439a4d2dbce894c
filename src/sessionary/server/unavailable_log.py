"""Logging why requests are answered with 503: one line a minute for each cause, with a count of the others."""

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
_OTHER_CAUSES: Final = "more causes than are counted separately"

_logger: Final = logging.getLogger("sessionary.server.unavailable")

CallLater = Callable[[float, Callable[[str], None], str], object]


class UnavailableLog:
    """Logs the cause of a 503 at once, and then once a minute while it continues."""

    def __init__(self, call_later: CallLater | None = None) -> None:
        """Use ``call_later`` for timers; by default that of the event loop."""
        self._call_later: Final = call_later
        self._counts: Final = dict[str, int]()

    def __call__(self, error: SessionaryError) -> None:
        """Record a request that was refused with this error."""
        cause = f"{error.code}: {describe_cause(error)}"
        count = self._counts.get(cause)
        if count is None and len(self._counts) >= _CAUSES_MAX:
            cause = _OTHER_CAUSES
            count = self._counts.get(cause)
        if count is not None:
            self._counts[cause] = count + 1
            return
        self._counts[cause] = 0
        _logger.warning("A request was answered with 503 %s.", cause, extra={"fields": {"cause": cause}})
        self._start_window(cause)

    def flush(self) -> None:
        """Log what was counted since the last line of each cause."""
        for cause, count in self._counts.items():
            _log_count(cause, count)
        self._counts.clear()

    def _start_window(self, cause: str) -> None:
        call_later = self._call_later or asyncio.get_running_loop().call_later
        call_later(WINDOW_SECONDS, self._end_window, cause)

    def _end_window(self, cause: str) -> None:
        count = self._counts.pop(cause, 0)
        if count:
            _log_count(cause, count)
            self._counts[cause] = 0
            self._start_window(cause)


def _log_count(cause: str, count: int) -> None:
    if count:
        _logger.warning(
            "%d more requests were answered with 503 %s, in the last minute.",
            count,
            cause,
            extra={"fields": {"cause": cause, "count": count}},
        )


def describe_cause(error: SessionaryError) -> str:
    """Describe an error for operators: its reason, or else the types of the errors that caused it.

    Never their messages, which may contain values of a statement or of a request.
    """
    reason: str = getattr(error, "reason", "") or " because of ".join(map(_describe_type, _cause_chain(error)))
    return " ".join(reason.rstrip(".").split())[:_REASON_LENGTH_MAX]


def _cause_chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_CHAIN_MAX):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _describe_type(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    number = error.errno if isinstance(error, OSError) else None
    suffix = f" {state}" if isinstance(state, str) else f" ({os.strerror(number)})" if number else ""
    return f"{type(error).__name__}{suffix}"
