"""Rates are exact: over any stretch of time nobody has more requests than that allows, and nobody is refused fewer."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionary.server.operations.limits import Limits, RateLimit
from sessionary.server.operations.rate_limiter import REMEMBERED_MAX, RateLimiter

MEBIBYTE = 1024 * 1024


class HandTimer:
    """A clock of seconds that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> HandTimer:
    return HandTimer()


def rates_of(
    timer: HandTimer, remembered_max: int = REMEMBERED_MAX, **given: RateLimit | dict[str, RateLimit]
) -> RateLimiter:
    return RateLimiter(Limits(**given), timer, remembered_max)  # type: ignore[arg-type]  # names as a test spells them


def admitted(rates: RateLimiter, name: str = "one", organisation: str = "acme", tries: int = 100) -> int:
    """Count how many requests are admitted at once."""
    return [rates.admit(name, organisation).wait for _ in range(tries)].count(0.0)


def test_without_a_rate_nobody_is_counted(timer: HandTimer) -> None:
    rates = rates_of(timer, organisation_rates={"other": RateLimit(requests_per_second=1)})

    assert admitted(rates, tries=1_000) == 1_000
    assert rates.admit("token", "organisation").standings == ()


@pytest.mark.parametrize(("rate", "at_once"), [(10.0, 10), (0.5, 1), (2.5, 3), (1_000.0, 1_000)])
def test_without_a_burst_the_requests_of_one_second_may_come_at_once(
    timer: HandTimer, rate: float, at_once: int
) -> None:
    assert admitted(rates_of(timer, token_rate=RateLimit(requests_per_second=rate)), tries=2_000) == at_once


def test_a_burst_comes_back_at_the_rate(timer: HandTimer) -> None:
    rates = rates_of(timer, organisation_rate=RateLimit(requests_per_second=2, burst=5))

    assert admitted(rates) == 5
    timer.now += 1.0
    assert admitted(rates) == 2
    timer.now += 0.5
    assert admitted(rates) == 1
    timer.now += 60
    assert admitted(rates) == 5


def test_the_refused_are_told_when_there_will_be_room_and_then_there_is(timer: HandTimer) -> None:
    rates = rates_of(timer, token_rate=RateLimit(requests_per_second=0.25, burst=2))
    assert admitted(rates) == 2

    wait = rates.admit("one", "acme").wait

    assert wait == pytest.approx(4.0)
    timer.now += wait - 0.001
    assert admitted(rates) == 0
    timer.now += 0.001
    assert admitted(rates) == 1


def test_each_token_and_each_organisation_is_counted_by_itself(timer: HandTimer) -> None:
    rates = rates_of(
        timer, token_rate=RateLimit(requests_per_second=3), organisation_rate=RateLimit(requests_per_second=5)
    )

    assert admitted(rates, "a", "acme") == 3
    assert admitted(rates, "b", "acme") == 2
    assert admitted(rates, "c", "other") == 3


def test_who_is_refused_uses_up_nothing(timer: HandTimer) -> None:
    rates = rates_of(
        timer,
        token_rate=RateLimit(requests_per_second=1, burst=3),
        organisation_rate=RateLimit(requests_per_second=1, burst=100),
    )

    admitted(rates, "loud", "acme", tries=1_000)

    assert admitted(rates, "quiet-1", "acme") == 3
    timer.now += 3
    assert admitted(rates, "loud", "acme") == 3


def test_some_may_more_and_some_as_much_as_they_like(timer: HandTimer) -> None:
    rates = rates_of(
        timer,
        token_rate=RateLimit(requests_per_second=2),
        token_rates={"fast": RateLimit(requests_per_second=20), "free": RateLimit()},
    )

    assert [admitted(rates, token) for token in ("any", "fast", "free")] == [2, 20, 100]


def test_a_caller_is_told_how_it_stands(timer: HandTimer) -> None:
    rates = rates_of(timer, token_rate=RateLimit(requests_per_second=2, burst=5))

    told = [rates.admit("token", "organisation").standings[0] for _ in range(6)]

    assert [standing.left for standing in told] == [4, 3, 2, 1, 0, 0]
    assert [standing.seconds for standing in told] == [1, 1, 2, 2, 3, 3]
    assert {(standing.at_once, standing.window_seconds) for standing in told} == {(5, 3)}


@given(
    rate=st.floats(0.1, 1_000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_no_stretch_of_time_has_more_requests_than_it_allows(rate: float, burst: int, pauses: list[float]) -> None:
    timer = HandTimer()
    rates = rates_of(timer, token_rate=RateLimit(requests_per_second=rate, burst=burst))
    at: list[float] = []
    tokens_left, before = float(burst), timer.now
    for pause in pauses:
        timer.now += pause
        # The textbook's bucket, as a second opinion.
        tokens_left = min(burst, tokens_left + (timer.now - before) * rate)
        before = timer.now
        admission = rates.admit("token", "organisation")
        if admission.wait:
            assert tokens_left < 1 + 1e-6
        else:
            assert tokens_left > 1 - 1e-6
            tokens_left -= 1
            at.append(timer.now)
    for first in range(len(at)):
        for last in range(first, len(at)):
            assert last - first + 1 <= burst + (at[last] - at[first]) * rate + 1e-6
    assert all(earlier <= later for earlier, later in pairwise(at))


def test_nobody_gains_by_being_forgotten(timer: HandTimer) -> None:
    rates = rates_of(timer, remembered_max=10, token_rate=RateLimit(requests_per_second=1, burst=5))
    assert admitted(rates, "a") == 5

    for number in range(20):
        rates.admit(f"other-{number}", "organisation")

    assert admitted(rates, "a") == 0
    timer.now += 5
    assert admitted(rates, "a") == 5


def test_who_was_forgotten_after_all_its_room_came_back_costs_nobody_anything(timer: HandTimer) -> None:
    rates = rates_of(timer, remembered_max=10, token_rate=RateLimit(requests_per_second=1, burst=5))
    for number in range(1_000):
        assert admitted(rates, f"token-{number}", tries=6) == 5
        timer.now += 0.6

    assert admitted(rates, "new") == 5


def test_a_slow_name_of_its_own_rate_delays_no_new_one_and_is_never_forgotten(timer: HandTimer) -> None:
    slow = RateLimit(requests_per_second=0.000_1)
    rates = rates_of(
        timer,
        remembered_max=10,
        token_rate=RateLimit(requests_per_second=100, burst=5),
        token_rates={"slow": slow},
    )
    assert admitted(rates, "slow") == 1
    for number in range(100):
        timer.now += 0.01
        rates.admit(f"token-{number}", "organisation")
    timer.now += 0.05

    assert admitted(rates, "new") == 5
    assert admitted(rates, "slow") == 0


@pytest.mark.parametrize(("remembered_max", "mebibytes"), [(REMEMBERED_MAX, 50), (1_000, 2)])
def test_a_hundred_thousand_tokens_are_counted_in_bounded_memory(
    timer: HandTimer, remembered_max: int, mebibytes: int
) -> None:
    rates = rates_of(
        timer,
        remembered_max,
        token_rate=RateLimit(requests_per_second=1),
        organisation_rate=RateLimit(requests_per_second=1),
    )
    tracemalloc.start()
    for number in range(100_000):
        timer.now += 0.000_5
        rates.admit(f"{number:020x}", f"organisation-{number}")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown < mebibytes * MEBIBYTE
