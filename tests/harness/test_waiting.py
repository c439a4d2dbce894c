import socket
import time

import pytest

from tests.harness.processes import free_port
from tests.harness.waiting import Deadline, DeadlineExceededError, poll


def test_polling_returns_the_first_true_result() -> None:
    responses = iter([None, "", "here"])
    assert poll(lambda: next(responses), "an answer") == "here"


def test_polling_that_times_out_names_what_was_awaited() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"a miracle: not within 0\.05 s"):
        poll(lambda: False, "a miracle", seconds=0.05)
    assert time.monotonic() - started < 5


def test_a_deadline_counts_down_and_passes() -> None:
    deadline = Deadline(0.02)
    assert 0 < deadline.remaining <= 0.02
    time.sleep(0.03)
    assert deadline.passed
    assert deadline.remaining == 0
    with pytest.raises(DeadlineExceededError, match="the end"):
        deadline.check("the end")


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
