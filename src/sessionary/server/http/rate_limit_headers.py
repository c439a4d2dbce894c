"""The headers of rate limits (draft-ietf-httpapi-ratelimit-headers)."""

from collections.abc import Iterable

from sessionary.server.http.responses import Header
from sessionary.server.operations.rate_limiter import RateLimitStatus


def rate_limit_headers(statuses: Iterable[RateLimitStatus]) -> list[Header]:
    """Format ``RateLimit`` (``"token";r=9;t=1``: 9 left) and ``RateLimit-Policy`` (``"token";q=10;w=1``: 10 a second).

    Without any status there are no headers.
    """
    statuses = tuple(statuses)
    if not statuses:
        return []
    remaining = ", ".join(f'"{status.name}";r={status.remaining};t={status.reset_seconds}' for status in statuses)
    policy = ", ".join(f'"{status.name}";q={status.limit};w={status.window_seconds}' for status in statuses)
    return [(b"ratelimit", remaining.encode()), (b"ratelimit-policy", policy.encode())]
