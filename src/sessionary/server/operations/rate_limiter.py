"""Rate limiting by token and by organisation, with GCRA: a token bucket stored as one number."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from sessionary.server.operations.limits import Limits, RateLimit

REMEMBERED_MAX: Final = 50_000
_ROUNDING_SECONDS: Final = 1e-9


class RateLimitStatus(Struct, frozen=True):
    """How much of one rate limit is left: ``remaining`` of ``limit`` requests, all of them after ``reset_seconds``.

    ``name`` is ``token`` or ``organisation``.
    """

    name: str
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int


class RateLimitDecision(Struct, frozen=True):
    """Whether a request is allowed: ``retry_after`` is 0 if it is, and otherwise the seconds until it would be."""

    retry_after: float
    statuses: tuple[RateLimitStatus, ...]


class _Policy(Struct, frozen=True):
    """A rate limit in seconds: ``interval`` is what one request uses up, ``window`` what a full bucket holds."""

    name: str
    interval: float
    window: float
    capacity: int


class _ArrivalTimes:
    """The theoretical arrival time (TAT) of each token or organisation: until then its past requests use up its rate.

    Keys with a rate limit of their own are as few as the operator configured, and are never forgotten. All others share
    one rate limit; beyond ``remembered_max`` the least recently used is forgotten, and an unknown key starts at the
    latest TAT that was forgotten. So nobody gains by being forgotten, and a slow limit of one key delays no other key.
    """

    def __init__(self, name: str, rate: RateLimit, rates: Mapping[str, RateLimit], remembered_max: int) -> None:
        self._name: Final = name
        self._times: Final = OrderedDict[str, float]()
        self._times_of_own_limits: Final[dict[str, float]] = {}
        self._remembered_max: Final = remembered_max
        self._forgotten_time = -math.inf
        self.set_rates(rate, rates)

    def set_rates(self, rate: RateLimit, rates: Mapping[str, RateLimit]) -> None:
        self._policy = _make_policy(self._name, rate)
        self._own_policies = {key: _make_policy(self._name, rate) for key, rate in rates.items()}

    def policy_for(self, key: str) -> _Policy | None:
        return self._own_policies.get(key, self._policy)

    def get(self, key: str, now: float) -> float:
        if key in self._own_policies:
            return max(now, self._times_of_own_limits.get(key, now))
        return max(now, self._times.get(key, self._forgotten_time))

    def set(self, key: str, time: float) -> None:
        if key in self._own_policies:
            self._times_of_own_limits[key] = time
            return
        self._times[key] = time
        self._times.move_to_end(key)
        if len(self._times) > self._remembered_max:
            _, forgotten = self._times.popitem(last=False)
            self._forgotten_time = max(self._forgotten_time, forgotten)


class RateLimiter:
    """Allows a request if both its token and its organisation are within their rate limits.

    A refused request counts towards neither.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float], remembered_max: int = REMEMBERED_MAX) -> None:
        """Start with full buckets; ``clock`` returns seconds and never runs backwards."""
        self._clock: Final = clock
        self._tokens: Final = _ArrivalTimes("token", limits.token_rate, limits.token_rates, remembered_max)
        self._organisations: Final = _ArrivalTimes(
            "organisation", limits.organisation_rate, limits.organisation_rates, remembered_max
        )

    def set_limits(self, limits: Limits) -> None:
        """Replace the rate limits; what was used up stays used up."""
        self._tokens.set_rates(limits.token_rate, limits.token_rates)
        self._organisations.set_rates(limits.organisation_rate, limits.organisation_rates)

    def try_acquire(self, token_id: str, organisation: str) -> RateLimitDecision:
        """Count a request if it is within the limits."""
        now = self._clock()
        checks = [
            (times, key, policy, times.get(key, now))
            for times, key in ((self._tokens, token_id), (self._organisations, organisation))
            if (policy := times.policy_for(key)) is not None
        ]
        wait = max((time + policy.interval - policy.window - now for _, _, policy, time in checks), default=0.0)
        if wait > _ROUNDING_SECONDS:
            return RateLimitDecision(wait, tuple(_status(policy, time - now) for _, _, policy, time in checks))
        for times, key, policy, time in checks:
            times.set(key, time + policy.interval)
        return RateLimitDecision(
            0.0, tuple(_status(policy, time + policy.interval - now) for _, _, policy, time in checks)
        )


def _make_policy(name: str, rate: RateLimit) -> _Policy | None:
    if not rate.requests_per_second:
        return None
    interval = 1 / rate.requests_per_second
    return _Policy(name, interval, interval * rate.capacity, rate.capacity)


def _status(policy: _Policy, used_seconds: float) -> RateLimitStatus:
    remaining = max(0, math.floor((policy.window - used_seconds) / policy.interval + _ROUNDING_SECONDS))
    return RateLimitStatus(policy.name, policy.capacity, math.ceil(policy.window), remaining, math.ceil(used_seconds))
