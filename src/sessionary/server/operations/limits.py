"""The rate limits and quotas that an operator sets; zero means unlimited."""

import math
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from sessionary.constants import BURST_MAX, REQUESTS_PER_SECOND_MAX

RequestsPerSecond = Annotated[float, Meta(ge=0, le=REQUESTS_PER_SECOND_MAX)]
Burst = Annotated[int, Meta(ge=0, le=BURST_MAX)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class RateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The average requests per second, and how many may arrive at once; a burst of 0 means one second's requests."""

    requests_per_second: RequestsPerSecond = 0.0
    burst: Burst = 0

    @property
    def capacity(self) -> int:
        """How many requests may arrive at once: the size of the token bucket."""
        return self.burst or max(1, math.ceil(self.requests_per_second))


class Quota(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many live sessions an organisation may have, and how many bytes of messages they may hold in total."""

    sessions: Count = 0
    stored_bytes: Count = 0

    @property
    def is_limited(self) -> bool:
        """Whether either number is limited."""
        return bool(self.sessions or self.stored_bytes)


class Limits(Struct, frozen=True, kw_only=True):
    """The limits for everyone, and those that replace them for single organisations (by name) and tokens (by id)."""

    organisation_rate: RateLimit = RateLimit()
    organisation_rates: Mapping[str, RateLimit] = {}
    token_rate: RateLimit = RateLimit()
    token_rates: Mapping[str, RateLimit] = {}
    quota: Quota = Quota()
    quotas: Mapping[str, Quota] = {}

    @property
    def has_rate_limits(self) -> bool:
        """Whether the requests of any token or organisation are limited."""
        rates = (self.organisation_rate, self.token_rate, *self.organisation_rates.values(), *self.token_rates.values())
        return any(rate.requests_per_second for rate in rates)

    @property
    def has_quotas(self) -> bool:
        """Whether any organisation has a quota."""
        return any(quota.is_limited for quota in (self.quota, *self.quotas.values()))
