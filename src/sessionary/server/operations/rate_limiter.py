"""Rates: how many requests a token and an organisation may make, one number for each of them."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from sessionary.server.operations.limits import Limits, RateLimit

REMEMBERED_MAX: Final = 50_000
_ROUNDING_SECONDS: Final = 1e-9


class RateLimitStatus(Struct, frozen=True):
    """How one who is counted stands: ``left`` of ``at_once`` requests now, all of them again in ``seconds``."""

    counted: str
    at_once: int
    window_seconds: int
    left: int
    seconds: int


class RateLimitDecision(Struct, frozen=True):
    """Whether a request is admitted: ``wait`` is the seconds until it would be, 0 if it is now."""

    wait: float
    standings: tuple[RateLimitStatus, ...]


class _Pace(Struct, frozen=True):
    """A rate as the seconds a request costs, and the seconds of requests one may be ahead."""

    counted: str
    cost: float
    ahead: float
    at_once: int


class _Counted:
    """The instant up to which each one has used up its requests (GCRA: all of a bucket in one number).

    Names with a rate of their own are as few as the operator wrote down: they are never forgotten. Of all others, which
    share one rate, the least recently used of too many is forgotten, and an unknown name counts as far as the furthest
    forgotten one: so nobody gains by being forgotten, and no slow name of its own rate delays a new one.
    """

    def __init__(self, counted: str, rate: RateLimit, rates: Mapping[str, RateLimit], remembered_max: int) -> None:
        self._counted: Final = counted
        self._used_until: Final = OrderedDict[str, float]()
        self._used_until_of_its_own: Final[dict[str, float]] = {}
        self._remembered_max: Final = remembered_max
        self._forgotten_until = -math.inf
        self.set_rates(rate, rates)

    def set_rates(self, rate: RateLimit, rates: Mapping[str, RateLimit]) -> None:
        self._pace = _pace(self._counted, rate)
        self._paces = {name: _pace(self._counted, rate) for name, rate in rates.items()}

    def pace_of(self, name: str) -> _Pace | None:
        return self._paces.get(name, self._pace)

    def used_until(self, name: str, now: float) -> float:
        if name in self._paces:
            return max(now, self._used_until_of_its_own.get(name, now))
        return max(now, self._used_until.get(name, self._forgotten_until))

    def use(self, name: str, until: float) -> None:
        if name in self._paces:
            self._used_until_of_its_own[name] = until
            return
        self._used_until[name] = until
        self._used_until.move_to_end(name)
        if len(self._used_until) > self._remembered_max:
            _, forgotten = self._used_until.popitem(last=False)
            self._forgotten_until = max(self._forgotten_until, forgotten)


class RateLimiter:
    """Admits requests: each must be within its token's rate and its organisation's, and else counts for neither."""

    def __init__(self, limits: Limits, clock: Callable[[], float], remembered_max: int = REMEMBERED_MAX) -> None:
        """Count from now on, by a clock of seconds that never runs backwards."""
        self._clock: Final = clock
        self._tokens: Final = _Counted("token", limits.token_rate, limits.token_rates, remembered_max)
        self._organisations: Final = _Counted(
            "organisation", limits.organisation_rate, limits.organisation_rates, remembered_max
        )

    def set_limits(self, limits: Limits) -> None:
        """Count by other rates from now on; what was used up stays used up."""
        self._tokens.set_rates(limits.token_rate, limits.token_rates)
        self._organisations.set_rates(limits.organisation_rate, limits.organisation_rates)

    def admit(self, token_id: str, organisation: str) -> RateLimitDecision:
        """Count a request, if there is room for it."""
        now = self._clock()
        asked = [
            (counted, name, pace, counted.used_until(name, now))
            for counted, name in ((self._tokens, token_id), (self._organisations, organisation))
            if (pace := counted.pace_of(name)) is not None
        ]
        wait = max((until + pace.cost - pace.ahead - now for _, _, pace, until in asked), default=0.0)
        if wait > _ROUNDING_SECONDS:
            return RateLimitDecision(wait, tuple(_standing(pace, until - now) for _, _, pace, until in asked))
        for counted, name, pace, until in asked:
            counted.use(name, until + pace.cost)
        return RateLimitDecision(0.0, tuple(_standing(pace, until + pace.cost - now) for _, _, pace, until in asked))


def _pace(counted: str, rate: RateLimit) -> _Pace | None:
    if not rate.requests_per_second:
        return None
    cost = 1 / rate.requests_per_second
    return _Pace(counted, cost, cost * rate.at_once, rate.at_once)


def _standing(pace: _Pace, used: float) -> RateLimitStatus:
    left = max(0, math.floor((pace.ahead - used) / pace.cost + _ROUNDING_SECONDS))
    return RateLimitStatus(pace.counted, pace.at_once, math.ceil(pace.ahead), left, math.ceil(used))
