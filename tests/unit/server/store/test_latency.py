"""Batches are made as long as goes quickly: shorter where items take time, not where the way does."""

from collections.abc import Callable

import pytest

from sessionary.server.store.latency import Pace

MOST = 512
LONG = 0.25
HALF = 2.5

Seconds = Callable[[int], float]


def pace_of(most: int = MOST) -> Pace:
    return Pace(most, LONG, HALF)


def run(pace: Pace, seconds_of: Seconds, batches: int = 40) -> list[int]:
    """Run batches as full as may be; answer how many items each held."""
    held = []
    for _ in range(batches):
        count = pace.batch_max
        held.append(count)
        if seconds_of(count) > HALF:
            pace.gave_up(count)
        else:
            pace.took(count, seconds_of(count))
    return held


def test_quick_batches_hold_as_much_as_they_may() -> None:
    assert set(run(pace_of(), lambda count: 0.001 + count * 0.0001)) == {MOST}


@pytest.mark.parametrize("per_item", [0.001, 0.005, 0.02, 0.1])
def test_where_items_take_long_batches_become_short(per_item: float) -> None:
    held = run(pace_of(), lambda count: 0.002 + count * per_item)

    for count in held[12:]:
        assert LONG / 5 <= 0.002 + count * per_item <= LONG * 1.2


@pytest.mark.parametrize("way", [0.3, 0.5, 1.0, 2.0])
def test_where_the_way_takes_long_batches_stay_full(way: float) -> None:
    held = run(pace_of(), lambda count: way + count * 0.00001, batches=300)

    assert sum(held) >= 0.9 * 300 * MOST


def test_a_batch_that_is_not_through_in_time_is_followed_by_shorter_ones_until_one_is() -> None:
    pace = pace_of()

    held = run(pace, lambda count: count * 0.02, batches=12)

    assert held[:3] == [512, 256, 128]
    assert all(count * 0.02 <= LONG * 1.2 for count in held[8:])


def test_after_an_outage_batches_are_soon_full_again() -> None:
    pace = pace_of()
    for _ in range(20):
        pace.gave_up(pace.batch_max)
    assert pace.batch_max == 1

    assert run(pace, lambda count: 0.002 + count * 0.0001, batches=11)[-1] == MOST


def test_a_single_stall_costs_no_more_than_a_few_shorter_batches() -> None:
    pace = pace_of()
    run(pace, lambda _: 0.01)

    pace.took(MOST, 1.5)

    assert [pace.batch_max, *run(pace, lambda _: 0.01, batches=3)] == [MOST // 2, MOST // 2, MOST, MOST]


def test_a_way_that_becomes_short_again_is_noticed() -> None:
    pace = pace_of()
    run(pace, lambda _: 0.5, batches=100)

    held = run(pace, lambda count: 0.01 + count * 0.004, batches=200)

    assert all(0.01 + count * 0.004 <= LONG * 1.2 for count in held[150:])


def test_the_average_follows_a_change_of_pace_within_a_few_batches() -> None:
    pace = pace_of()

    for _ in range(8):
        pace.took(10, 0.1)

    assert 0.085 <= pace.seconds <= 0.1


def test_a_batch_of_one_is_never_shortened() -> None:
    pace = pace_of(most=1)

    pace.took(1, 2.0)
    pace.gave_up(1)

    assert pace.batch_max == 1
