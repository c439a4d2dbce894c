"""What every operation is given first: the service it works for, and who asks."""

from msgspec import Struct, field

from sessionary.server.operations.quotas import Quotas
from sessionary.server.operations.rate_limiter import RateLimiter
from sessionary.server.operations.session_ids import SessionIds
from sessionary.server.operations.token_uses import TokenUses
from sessionary.server.store.base import Clock, IdempotencyKey, Store, Versions


class Service(Struct):
    """What all requests share; ``expiry_horizon`` is in milliseconds. Without rates or quotas nothing is counted.

    Not frozen: an operator may set other rates and quotas while it runs.
    """

    store: Store
    clock: Clock
    session_ids: SessionIds
    expiry_horizon: int
    rates: RateLimiter | None = None
    quotas: Quotas | None = None
    token_uses: TokenUses = field(default_factory=TokenUses)


class Context(Struct, frozen=True):
    """One request's part: the organisation it speaks for, the id of the token it came with, and its conditions.

    ``once`` names the key under which a change has its effect at most once; ``if_version`` the only versions of the
    session it is meant for, ``unless_version`` those it is not meant for. ``may_import`` says that it may tell when
    sessions and messages were created.
    """

    service: Service
    organisation: str
    actor: str
    idempotency_key: IdempotencyKey | None = None
    if_version: Versions = None
    unless_version: Versions = None
    may_import: bool = False
