"""Rates on the wire: how a caller is told how it stands (draft-ietf-httpapi-ratelimit-headers)."""

from collections.abc import Iterable

from sessionary.server.http.responses import Header
from sessionary.server.operations.rate_limiter import RateLimitStatus


def rate_limit_headers(standings: Iterable[RateLimitStatus]) -> list[Header]:
    """Spell how many requests are left, and of how many: ``"token";r=9;t=1`` and ``"token";q=10;w=1``."""
    standings = tuple(standings)
    if not standings:
        return []
    left = ", ".join(f'"{each.name}";r={each.remaining};t={each.reset_seconds}' for each in standings)
    policy = ", ".join(f'"{each.name}";q={each.limit};w={each.window_seconds}' for each in standings)
    return [(b"ratelimit", left.encode()), (b"ratelimit-policy", policy.encode())]
