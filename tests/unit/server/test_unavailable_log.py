"""The log has one line a minute for each cause of a 503, and counts the others."""

import logging

import pytest

from sessionary.errors import OverloadedError, SessionaryError, StoreUnavailableError, UnavailableError
from sessionary.server.unavailable_log import UnavailableLog, describe_cause


class ManualTimers:
    """Timers of a minute that end when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[object, str]] = []

    def call_later(self, seconds: float, call: object, cause: str) -> None:
        assert seconds == 60
        self.waiting.append((call, cause))

    def end_all(self) -> None:
        ended, self.waiting = self.waiting, []
        for call, cause in ended:
            assert callable(call)
            call(cause)


@pytest.fixture
def timers() -> ManualTimers:
    return ManualTimers()


@pytest.fixture
def log(timers: ManualTimers, caplog: pytest.LogCaptureFixture) -> UnavailableLog:
    caplog.set_level(logging.INFO)
    return UnavailableLog(timers.call_later)


def test_a_cause_has_one_line_a_minute(
    log: UnavailableLog, timers: ManualTimers, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1_000):
        log(StoreUnavailableError(reason="the disk is full."))
    log(OverloadedError(reason="the queue is full"))
    assert caplog.messages == [
        "A request was answered with 503 STORE_UNAVAILABLE: the disk is full.",
        "A request was answered with 503 OVERLOADED: the queue is full.",
    ]

    timers.end_all()
    assert caplog.messages[2:] == [
        "999 more requests were answered with 503 STORE_UNAVAILABLE: the disk is full, in the last minute."
    ]

    timers.end_all()
    assert len(caplog.messages) == 3
    assert timers.waiting == [], "the windows are over"
    log(StoreUnavailableError(reason="the disk is full"))
    assert len(caplog.messages) == 4


def test_causes_are_bounded(log: UnavailableLog, timers: ManualTimers, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(10_000):
        log(StoreUnavailableError(reason=f"number {number}"))
    assert len(caplog.messages) == 51
    timers.end_all()
    assert len(caplog.messages) == 52
    assert caplog.messages[-1].startswith("9949 more requests")


def test_flushing_logs_what_was_counted(log: UnavailableLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        log(UnavailableError(reason="x"))
    log.flush()
    assert caplog.messages[-1] == "2 more requests were answered with 503 UNAVAILABLE: x, in the last minute."


def raise_from(error: SessionaryError, cause: Exception) -> SessionaryError:
    try:
        raise error from cause
    except SessionaryError as raised:
        return raised


class ReportedError(Exception):
    """An error of a database driver."""

    sqlstate = "25006"


def test_without_a_reason_the_types_of_the_errors_are_logged_and_never_their_messages() -> None:
    refused = raise_from(StoreUnavailableError(), ConnectionRefusedError(111, "geheim"))
    assert describe_cause(refused) == "StoreUnavailableError because of ConnectionRefusedError (Connection refused)"
    assert describe_cause(raise_from(StoreUnavailableError(), ReportedError("geheim"))) == (
        "StoreUnavailableError because of ReportedError 25006"
    )
    assert describe_cause(StoreUnavailableError("geheim")) == "StoreUnavailableError"


def test_a_reason_is_one_bounded_line() -> None:
    assert describe_cause(StoreUnavailableError(reason="a\n  b." + "x" * 1_000)) == ("a b." + "x" * 1_000)[:300]


def test_a_circular_chain_of_errors_ends() -> None:
    error = StoreUnavailableError()
    error.__context__ = other = ValueError()
    other.__context__ = error
    assert describe_cause(error).count("because of") == 3
