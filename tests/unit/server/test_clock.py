"""The programs' clock and their source of request ids."""

import time

from sessionary.server.clock import request_ids, steady_clock


class Machine:
    """A machine whose clocks stand where the test puts them, in seconds."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.monotonic = 5.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def test_the_clock_tells_the_machines_time_in_milliseconds() -> None:
    machine = Machine()
    clock = steady_clock(lambda: machine.wall, lambda: machine.monotonic)
    assert clock() == 1_700_000_000_000
    machine.passes(1.2345)
    assert clock() == 1_700_000_001_234
    assert isinstance(clock(), int)


def test_the_clock_follows_the_machines_when_that_is_put_forward() -> None:
    machine = Machine()
    clock = steady_clock(lambda: machine.wall, lambda: machine.monotonic)
    before = clock()
    machine.wall += 3600
    assert clock() == before + 3_600_000


def test_the_clock_neither_runs_back_nor_stands_still_when_the_machines_is_put_back() -> None:
    machine = Machine()
    clock = steady_clock(lambda: machine.wall, lambda: machine.monotonic)
    before = clock()
    machine.wall -= 60
    assert clock() == before
    machine.passes(10)
    assert clock() == before + 5_000
    machine.passes(90)
    assert clock() == before + 50_000
    machine.passes(20)
    assert clock() == before + 60_000 == int(machine.wall * 1000), "now they agree again"
    machine.passes(20)
    assert clock() == before + 80_000


def test_the_clock_of_a_real_machine_tells_its_time() -> None:
    clock = steady_clock()
    told = [clock() for _ in range(100)]
    assert told == sorted(told)
    assert abs(told[-1] - time.time() * 1000) < 5_000


def test_request_ids_are_unique_and_may_stand_in_a_header() -> None:
    next_id, other = request_ids(), request_ids()
    made = [next_id() for _ in range(1_000)] + [other() for _ in range(1_000)]
    assert len(set(made)) == 2_000
    assert all(text.isalnum() and text.isascii() and len(text) <= 128 for text in made)
