"""Every 503 has one line for each cause and minute that says why, and what came on top is counted."""

import logging

import pytest

from sessionary.errors import OverloadedError, SessionaryError, StoreUnavailableError, UnavailableError
from sessionary.server.unavailable_log import UnavailableLog, reason_of


class Minutes:
    """Minutes that end when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[object, str]] = []

    def after(self, seconds: float, call: object, cause: str) -> None:
        assert seconds == 60
        self.waiting.append((call, cause))

    def end(self) -> None:
        ended, self.waiting = self.waiting, []
        for call, cause in ended:
            assert callable(call)
            call(cause)


@pytest.fixture
def minutes() -> Minutes:
    return Minutes()


@pytest.fixture
def log(minutes: Minutes, caplog: pytest.LogCaptureFixture) -> UnavailableLog:
    caplog.set_level(logging.INFO)
    return UnavailableLog(minutes.after)


def test_a_cause_has_one_line_a_minute(log: UnavailableLog, minutes: Minutes, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(1_000):
        log(StoreUnavailableError(reason="the disk is full."))
    log(OverloadedError(reason="the queue is full"))
    assert caplog.messages == [
        "A request was answered with 503 STORE_UNAVAILABLE: the disk is full.",
        "A request was answered with 503 OVERLOADED: the queue is full.",
    ]

    minutes.end()
    assert caplog.messages[2:] == [
        "999 more requests were answered with 503 STORE_UNAVAILABLE: the disk is full, in the last minute."
    ]

    minutes.end()
    assert len(caplog.messages) == 3
    assert minutes.waiting == [], "over, and nothing is kept"
    log(StoreUnavailableError(reason="the disk is full"))
    assert len(caplog.messages) == 4


def test_causes_are_bounded(log: UnavailableLog, minutes: Minutes, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(10_000):
        log(StoreUnavailableError(reason=f"number {number}"))
    assert len(caplog.messages) == 51
    minutes.end()
    assert len(caplog.messages) == 52
    assert caplog.messages[-1].startswith("9949 more requests")


def test_at_the_end_what_was_counted_is_told(log: UnavailableLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        log(UnavailableError(reason="x"))
    log.flush()
    assert caplog.messages[-1] == "2 more requests were answered with 503 UNAVAILABLE: x, in the last minute."


def failed(error: SessionaryError, cause: Exception) -> SessionaryError:
    try:
        raise error from cause
    except SessionaryError as raised:
        return raised


class ReportedError(Exception):
    """What a database reports."""

    sqlstate = "25006"


def test_without_a_reason_the_kinds_of_errors_are_told_and_never_their_texts() -> None:
    geheim = failed(StoreUnavailableError(), ConnectionRefusedError(111, "geheim"))
    assert reason_of(geheim) == "StoreUnavailableError because of ConnectionRefusedError (Connection refused)"
    assert reason_of(failed(StoreUnavailableError(), ReportedError("geheim"))) == (
        "StoreUnavailableError because of ReportedError 25006"
    )
    assert reason_of(StoreUnavailableError("geheim")) == "StoreUnavailableError"


def test_a_reason_is_one_bounded_line() -> None:
    assert reason_of(StoreUnavailableError(reason="a\n  b." + "x" * 1_000)) == ("a b." + "x" * 1_000)[:300]


def test_a_chain_that_bites_its_tail_ends() -> None:
    error = StoreUnavailableError()
    error.__context__ = other = ValueError()
    other.__context__ = error
    assert reason_of(error).count("because of") == 3
