"""What every operation is given first: the service it works for, and who asks."""

from msgspec import Struct

from sessionary.operations.identifiers import SessionIds
from sessionary.operations.quotas import Quotas
from sessionary.operations.rates import Rates
from sessionary.store.base import Clock, Once, Store, Versions


class Service(Struct, frozen=True):
    """What all requests share; ``expiry_horizon`` is in milliseconds. Without rates or quotas nothing is counted."""

    store: Store
    clock: Clock
    session_ids: SessionIds
    expiry_horizon: int
    rates: Rates | None = None
    quotas: Quotas | None = None


class Context(Struct, frozen=True):
    """One request's part: the organisation it speaks for, the id of the token it came with, and its conditions.

    ``once`` names the key under which a change has its effect at most once; ``if_version`` the only versions of the
    session it is meant for, ``unless_version`` those it is not meant for. ``may_import`` says that it may tell when
    sessions and messages were created.
    """

    service: Service
    organisation: str
    actor: str
    once: Once | None = None
    if_version: Versions = None
    unless_version: Versions = None
    may_import: bool = False
