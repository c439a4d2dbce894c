"""Batches get shorter where the items take the time, and stay long where the round trip does."""

from collections.abc import Callable

import pytest

from sessionary.server.store.latency import LatencyEstimator

BATCH_MAX = 512
SLOW = 0.25
HALF = 2.5

Seconds = Callable[[int], float]


def estimator_of(batch_max: int = BATCH_MAX) -> LatencyEstimator:
    return LatencyEstimator(batch_max, SLOW, HALF)


def run(estimator: LatencyEstimator, seconds_of: Seconds, batches: int = 40) -> list[int]:
    """Run batches as full as allowed; return how many items each held."""
    held = []
    for _ in range(batches):
        count = estimator.batch_max
        held.append(count)
        if seconds_of(count) > HALF:
            estimator.record_timeout(count)
        else:
            estimator.record(count, seconds_of(count))
    return held


def test_quick_batches_hold_as_much_as_they_may() -> None:
    assert set(run(estimator_of(), lambda count: 0.001 + count * 0.0001)) == {BATCH_MAX}


@pytest.mark.parametrize("per_item", [0.001, 0.005, 0.02, 0.1])
def test_where_items_take_long_batches_become_short(per_item: float) -> None:
    held = run(estimator_of(), lambda count: 0.002 + count * per_item)

    for count in held[12:]:
        assert SLOW / 5 <= 0.002 + count * per_item <= SLOW * 1.2


@pytest.mark.parametrize("round_trip", [0.3, 0.5, 1.0, 2.0])
def test_where_the_round_trip_takes_long_batches_stay_full(round_trip: float) -> None:
    held = run(estimator_of(), lambda count: round_trip + count * 0.00001, batches=300)

    assert sum(held) >= 0.9 * 300 * BATCH_MAX


def test_a_batch_that_is_not_through_in_time_is_followed_by_shorter_ones_until_one_is() -> None:
    estimator = estimator_of()

    held = run(estimator, lambda count: count * 0.02, batches=12)

    assert held[:3] == [512, 256, 128]
    assert all(count * 0.02 <= SLOW * 1.2 for count in held[8:])


def test_after_an_outage_batches_are_soon_full_again() -> None:
    estimator = estimator_of()
    for _ in range(20):
        estimator.record_timeout(estimator.batch_max)
    assert estimator.batch_max == 1

    assert run(estimator, lambda count: 0.002 + count * 0.0001, batches=11)[-1] == BATCH_MAX


def test_a_single_stall_costs_no_more_than_a_few_shorter_batches() -> None:
    estimator = estimator_of()
    run(estimator, lambda _: 0.01)

    estimator.record(BATCH_MAX, 1.5)

    assert [estimator.batch_max, *run(estimator, lambda _: 0.01, batches=3)] == [
        BATCH_MAX // 2,
        BATCH_MAX // 2,
        BATCH_MAX,
        BATCH_MAX,
    ]


def test_a_round_trip_that_becomes_short_again_is_noticed() -> None:
    estimator = estimator_of()
    run(estimator, lambda _: 0.5, batches=100)

    held = run(estimator, lambda count: 0.01 + count * 0.004, batches=200)

    assert all(0.01 + count * 0.004 <= SLOW * 1.2 for count in held[150:])


def test_the_average_follows_a_change_of_latency_within_a_few_batches() -> None:
    estimator = estimator_of()

    for _ in range(8):
        estimator.record(10, 0.1)

    assert 0.085 <= estimator.seconds <= 0.1


def test_a_batch_of_one_is_never_shortened() -> None:
    estimator = estimator_of(batch_max=1)

    estimator.record(1, 2.0)
    estimator.record_timeout(1)

    assert estimator.batch_max == 1
