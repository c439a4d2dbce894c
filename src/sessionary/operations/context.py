"""What every operation is given first: the service it works for, and who asks."""

from msgspec import Struct

from sessionary.operations.identifiers import SessionIds
from sessionary.store.base import Clock, Store


class Service(Struct, frozen=True):
    """What all requests share; ``expiry_horizon`` is in milliseconds."""

    store: Store
    clock: Clock
    session_ids: SessionIds
    expiry_horizon: int


class Context(Struct, frozen=True):
    """One request's part: the organisation it speaks for and the id of the token it came with."""

    service: Service
    organisation: str
    actor: str
