"""The clock and the request ids of the server."""

import time

from sessionary.server.clock import request_ids, steady_clock


class FakeClocks:
    """The clocks of a machine, in seconds, which change only when a test sets them."""

    def __init__(self) -> None:
        self.system_time = 1_700_000_000.0
        self.monotonic = 5.0

    def advance(self, seconds: float) -> None:
        self.system_time += seconds
        self.monotonic += seconds


def test_the_clock_returns_the_time_in_milliseconds() -> None:
    clocks = FakeClocks()
    clock = steady_clock(lambda: clocks.system_time, lambda: clocks.monotonic)
    assert clock() == 1_700_000_000_000
    clocks.advance(1.2345)
    assert clock() == 1_700_000_001_234
    assert isinstance(clock(), int)


def test_the_clock_follows_when_the_system_clock_is_set_forward() -> None:
    clocks = FakeClocks()
    clock = steady_clock(lambda: clocks.system_time, lambda: clocks.monotonic)
    before = clock()
    clocks.system_time += 3600
    assert clock() == before + 3_600_000


def test_the_clock_runs_at_half_speed_after_the_system_clock_was_set_back() -> None:
    clocks = FakeClocks()
    clock = steady_clock(lambda: clocks.system_time, lambda: clocks.monotonic)
    before = clock()
    clocks.system_time -= 60
    assert clock() == before
    clocks.advance(10)
    assert clock() == before + 5_000
    clocks.advance(90)
    assert clock() == before + 50_000
    clocks.advance(20)
    assert clock() == before + 60_000 == int(clocks.system_time * 1000), "now they agree again"
    clocks.advance(20)
    assert clock() == before + 80_000


def test_the_default_clock_returns_the_system_time() -> None:
    clock = steady_clock()
    times = [clock() for _ in range(100)]
    assert times == sorted(times)
    assert abs(times[-1] - time.time() * 1000) < 5_000


def test_request_ids_are_unique_and_valid_in_a_header() -> None:
    next_id, other = request_ids(), request_ids()
    ids = [next_id() for _ in range(1_000)] + [other() for _ in range(1_000)]
    assert len(set(ids)) == 2_000
    assert all(text.isalnum() and text.isascii() and len(text) <= 128 for text in ids)
