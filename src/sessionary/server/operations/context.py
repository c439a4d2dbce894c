"""The first argument of every operation: the service, and who made the request."""

from msgspec import Struct, field

from sessionary.server.operations.quotas import QuotaEnforcer
from sessionary.server.operations.rate_limiter import RateLimiter
from sessionary.server.operations.session_ids import SessionIdGenerator
from sessionary.server.operations.token_uses import TokenUses
from sessionary.server.store.base import Clock, IdempotencyKey, Store, Versions


class Service(Struct):
    """What all requests share. ``expiry_horizon`` is in milliseconds; without a limiter or enforcer nothing is limited.

    Not frozen: a reload of the settings may set, replace or remove the rate limiter and the quota enforcer.
    """

    store: Store
    clock: Clock
    session_ids: SessionIdGenerator
    expiry_horizon: int
    rate_limiter: RateLimiter | None = None
    quota_enforcer: QuotaEnforcer | None = None
    token_uses: TokenUses = field(default_factory=TokenUses)


class Context(Struct, frozen=True):
    """One request: its organisation, ``actor`` (the id of its token), and its preconditions.

    ``if_version`` lists the session versions that a change requires, ``unless_version`` those that it rules out.
    ``may_import`` allows the request to set creation times.
    """

    service: Service
    organisation: str
    actor: str
    idempotency_key: IdempotencyKey | None = None
    if_version: Versions = None
    unless_version: Versions = None
    may_import: bool = False
