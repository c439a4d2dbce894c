"""Rate limits are exact: over any period a caller gets as many requests as its rate and burst allow, no more or less."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionary.server.operations.limits import Limits, RateLimit
from sessionary.server.operations.rate_limiter import REMEMBERED_MAX, RateLimiter

MEBIBYTE = 1024 * 1024


class HandTimer:
    """A clock in seconds that changes only when a test sets ``now``."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> HandTimer:
    return HandTimer()


def limiter_with(
    timer: HandTimer, remembered_max: int = REMEMBERED_MAX, **given: RateLimit | dict[str, RateLimit]
) -> RateLimiter:
    return RateLimiter(Limits(**given), timer, remembered_max)  # type: ignore[arg-type]  # the keyword names are those of Limits


def count_allowed(limiter: RateLimiter, name: str = "one", organisation: str = "acme", tries: int = 100) -> int:
    """Return how many of ``tries`` requests at the same time are allowed."""
    return [limiter.try_acquire(name, organisation).retry_after for _ in range(tries)].count(0.0)


def test_without_a_rate_limit_nothing_is_counted(timer: HandTimer) -> None:
    limiter = limiter_with(timer, organisation_rates={"other": RateLimit(requests_per_second=1)})

    assert count_allowed(limiter, tries=1_000) == 1_000
    assert limiter.try_acquire("token", "organisation").statuses == ()


@pytest.mark.parametrize(("rate", "capacity"), [(10.0, 10), (0.5, 1), (2.5, 3), (1_000.0, 1_000)])
def test_the_default_burst_is_the_requests_of_one_second(timer: HandTimer, rate: float, capacity: int) -> None:
    assert count_allowed(limiter_with(timer, token_rate=RateLimit(requests_per_second=rate)), tries=2_000) == capacity


def test_a_used_burst_refills_at_the_rate(timer: HandTimer) -> None:
    limiter = limiter_with(timer, organisation_rate=RateLimit(requests_per_second=2, burst=5))

    assert count_allowed(limiter) == 5
    timer.now += 1.0
    assert count_allowed(limiter) == 2
    timer.now += 0.5
    assert count_allowed(limiter) == 1
    timer.now += 60
    assert count_allowed(limiter) == 5


def test_after_the_returned_wait_a_refused_request_is_allowed(timer: HandTimer) -> None:
    limiter = limiter_with(timer, token_rate=RateLimit(requests_per_second=0.25, burst=2))
    assert count_allowed(limiter) == 2

    wait = limiter.try_acquire("one", "acme").retry_after

    assert wait == pytest.approx(4.0)
    timer.now += wait - 0.001
    assert count_allowed(limiter) == 0
    timer.now += 0.001
    assert count_allowed(limiter) == 1


def test_each_token_and_each_organisation_is_counted_separately(timer: HandTimer) -> None:
    limiter = limiter_with(
        timer, token_rate=RateLimit(requests_per_second=3), organisation_rate=RateLimit(requests_per_second=5)
    )

    assert count_allowed(limiter, "a", "acme") == 3
    assert count_allowed(limiter, "b", "acme") == 2
    assert count_allowed(limiter, "c", "other") == 3


def test_a_refused_request_uses_up_nothing(timer: HandTimer) -> None:
    limiter = limiter_with(
        timer,
        token_rate=RateLimit(requests_per_second=1, burst=3),
        organisation_rate=RateLimit(requests_per_second=1, burst=100),
    )

    count_allowed(limiter, "loud", "acme", tries=1_000)

    assert count_allowed(limiter, "quiet-1", "acme") == 3
    timer.now += 3
    assert count_allowed(limiter, "loud", "acme") == 3


def test_single_tokens_can_have_a_higher_limit_or_none(timer: HandTimer) -> None:
    limiter = limiter_with(
        timer,
        token_rate=RateLimit(requests_per_second=2),
        token_rates={"fast": RateLimit(requests_per_second=20), "free": RateLimit()},
    )

    assert [count_allowed(limiter, token) for token in ("any", "fast", "free")] == [2, 20, 100]


def test_the_status_counts_down_the_remaining_requests(timer: HandTimer) -> None:
    limiter = limiter_with(timer, token_rate=RateLimit(requests_per_second=2, burst=5))

    statuses = [limiter.try_acquire("token", "organisation").statuses[0] for _ in range(6)]

    assert [status.remaining for status in statuses] == [4, 3, 2, 1, 0, 0]
    assert [status.reset_seconds for status in statuses] == [1, 1, 2, 2, 3, 3]
    assert {(status.limit, status.window_seconds) for status in statuses} == {(5, 3)}


@given(
    rate=st.floats(0.1, 1_000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_no_period_has_more_requests_than_rate_and_burst_allow(rate: float, burst: int, pauses: list[float]) -> None:
    timer = HandTimer()
    limiter = limiter_with(timer, token_rate=RateLimit(requests_per_second=rate, burst=burst))
    at: list[float] = []
    tokens_left, before = float(burst), timer.now
    for pause in pauses:
        timer.now += pause
        # A plain token bucket, to compare with.
        tokens_left = min(burst, tokens_left + (timer.now - before) * rate)
        before = timer.now
        decision = limiter.try_acquire("token", "organisation")
        if decision.retry_after:
            assert tokens_left < 1 + 1e-6
        else:
            assert tokens_left > 1 - 1e-6
            tokens_left -= 1
            at.append(timer.now)
    for first in range(len(at)):
        for last in range(first, len(at)):
            assert last - first + 1 <= burst + (at[last] - at[first]) * rate + 1e-6
    assert all(earlier <= later for earlier, later in pairwise(at))


def test_a_forgotten_token_does_not_get_its_burst_back(timer: HandTimer) -> None:
    limiter = limiter_with(timer, remembered_max=10, token_rate=RateLimit(requests_per_second=1, burst=5))
    assert count_allowed(limiter, "a") == 5

    for number in range(20):
        limiter.try_acquire(f"other-{number}", "organisation")

    assert count_allowed(limiter, "a") == 0
    timer.now += 5
    assert count_allowed(limiter, "a") == 5


def test_forgetting_tokens_with_a_full_burst_delays_no_new_token(timer: HandTimer) -> None:
    limiter = limiter_with(timer, remembered_max=10, token_rate=RateLimit(requests_per_second=1, burst=5))
    for number in range(1_000):
        assert count_allowed(limiter, f"token-{number}", tries=6) == 5
        timer.now += 0.6

    assert count_allowed(limiter, "new") == 5


def test_a_token_with_a_slow_limit_of_its_own_is_never_forgotten_and_delays_no_other(timer: HandTimer) -> None:
    slow = RateLimit(requests_per_second=0.000_1)
    limiter = limiter_with(
        timer,
        remembered_max=10,
        token_rate=RateLimit(requests_per_second=100, burst=5),
        token_rates={"slow": slow},
    )
    assert count_allowed(limiter, "slow") == 1
    for number in range(100):
        timer.now += 0.01
        limiter.try_acquire(f"token-{number}", "organisation")
    timer.now += 0.05

    assert count_allowed(limiter, "new") == 5
    assert count_allowed(limiter, "slow") == 0


@pytest.mark.parametrize(("remembered_max", "mebibytes"), [(REMEMBERED_MAX, 50), (1_000, 2)])
def test_a_hundred_thousand_tokens_take_bounded_memory(timer: HandTimer, remembered_max: int, mebibytes: int) -> None:
    limiter = limiter_with(
        timer,
        remembered_max,
        token_rate=RateLimit(requests_per_second=1),
        organisation_rate=RateLimit(requests_per_second=1),
    )
    tracemalloc.start()
    for number in range(100_000):
        timer.now += 0.000_5
        limiter.try_acquire(f"{number:020x}", f"organisation-{number}")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown < mebibytes * MEBIBYTE
