"""The helper that runs a function in a forked process."""

import os
import threading

import pytest

from tests.client.forking import in_child


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_result_that_cannot_be_pickled_is_an_error_in_the_parent() -> None:
    parent = os.getpid()
    with pytest.raises(AssertionError, match="cannot pickle"):
        in_child(threading.Lock)()
    assert os.getpid() == parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_what_a_child_returns_or_raises_reaches_the_parent() -> None:
    assert in_child(lambda: 5)() == 5
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        in_child(lambda: 1 // 0)()
