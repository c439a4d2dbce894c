"""What an operator allows organisations and tokens; zero means as much as they like."""

import math
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from sessionary.constants import BURST_MAX, REQUESTS_PER_SECOND_MAX

RequestsPerSecond = Annotated[float, Meta(ge=0, le=REQUESTS_PER_SECOND_MAX)]
Burst = Annotated[int, Meta(ge=0, le=BURST_MAX)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class RateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many requests a second, on the average, and how many at once; without a burst those of one second."""

    requests_per_second: RequestsPerSecond = 0.0
    burst: Burst = 0

    @property
    def at_once(self) -> int:
        """How many requests may come at once."""
        return self.burst or max(1, math.ceil(self.requests_per_second))


class Quota(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many live sessions, and how many bytes of messages in them."""

    sessions: Count = 0
    stored_bytes: Count = 0

    @property
    def is_any(self) -> bool:
        """Whether anything is limited."""
        return bool(self.sessions or self.stored_bytes)


class Limits(Struct, frozen=True, kw_only=True):
    """What everyone may, and what some may instead."""

    organisation_rate: RateLimit = RateLimit()
    organisation_rates: Mapping[str, RateLimit] = {}
    token_rate: RateLimit = RateLimit()
    token_rates: Mapping[str, RateLimit] = {}
    quota: Quota = Quota()
    quotas: Mapping[str, Quota] = {}

    @property
    def has_rates(self) -> bool:
        """Whether anybody's requests are counted."""
        rates = (self.organisation_rate, self.token_rate, *self.organisation_rates.values(), *self.token_rates.values())
        return any(rate.requests_per_second for rate in rates)

    @property
    def has_quotas(self) -> bool:
        """Whether anybody's sessions are counted."""
        return any(quota.is_any for quota in (self.quota, *self.quotas.values()))
