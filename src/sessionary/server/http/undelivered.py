"""Changes without an idempotency key whose response did not reach the client.

An append is a PUT, and clients assume that a PUT may be repeated when its connection breaks. So if a response was lost,
the same request sent again gets that response instead of a second effect. Requests whose responses arrived are never
compared: two equal requests that were both answered are two changes.

The life of a change: ``track`` when its request is complete, ``record_response`` when it has been answered, ``resolve``
when it is known whether the response arrived. A change whose connection is lost in between is put on record with
``remember``, and the same request sent again takes it with ``take_earlier_response``.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from sessionary.server.http.responses import REPLAYED, Response

REMEMBERED_SECONDS: Final = 60.0
"""How long a response that did not arrive is remembered."""
REMEMBERED_MAX: Final = 4096
REMEMBERED_PER_ORGANISATION_MAX: Final = 512
_RESPONSE_BYTES_MAX: Final = 4096
"""A response to a change is never nearly as long. So all remembered responses take less than 4096 times this."""

_BODY_BYTES_KEPT_MAX: Final = 1024
_UNCONFIRMED_MAX: Final = 16
"""How many of a connection's last responses are tracked; only a client that pipelines can have more under way."""
_CLEANUP_SECONDS: Final = 5.0

DELIVERY: Final = "sessionary.delivery"
"""The key in an ASGI scope under which a server puts the ``Delivery`` of the request's connection."""


class Change:
    """A change without an idempotency key, from its request until its response has arrived or is forgotten."""

    __slots__ = (
        "_body_parts",
        "_fingerprint",
        "_lost_response",
        "_names",
        "_waiter",
        "body_size",
        "is_remembered",
        "is_resolved",
        "organisation",
        "response",
        "response_end",
        "sequence",
    )

    def __init__(self, organisation: str, names: tuple[str, ...], body_parts: tuple[bytes, ...]) -> None:
        """Identify a request by its organisation and all that is equal when it is sent again; its body comes last."""
        self.organisation: Final = organisation
        self.sequence: int = 0
        self.response: Response | None = None
        """The response, if the change may have had an effect."""
        self.response_end: int = 0
        """The number of bytes that the connection has sent when the response has been sent.

        Until the response is written, this is ``Delivery.offset()``.
        """
        self.is_remembered: bool = False
        self.is_resolved: bool = False
        self.body_size: Final = len(body_parts[-1])
        self._names = names
        self._body_parts = body_parts
        self._fingerprint = b""
        self._lost_response: Response | None = None
        self._waiter: asyncio.Future[None] | None = None

    def fingerprint(self) -> bytes:
        """Return a hash of everything that identifies the request."""
        if not self._fingerprint:
            digest = hashlib.sha256()
            for part in (*map(str.encode, self._names), *self._body_parts):
                digest.update(b"%d:" % len(part))
                digest.update(part)
            self._fingerprint = digest.digest()
            self._names = self._body_parts = ()
        return self._fingerprint

    def resolve(self, lost_response: Response | None) -> None:
        """Record the response that was lost, or None if it arrived or there was no effect."""
        self.is_resolved = True
        self._lost_response = lost_response
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def lost_response(self) -> Response | None:
        """Wait until the change is resolved and return the response that was lost, if any; for one caller only."""
        if not self.is_resolved:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._lost_response


class Delivery:
    """The changes on one connection whose responses may not have arrived yet, and the state of the connection.

    A server that can find out which bytes have arrived puts an object of a subclass into the scope of each request.
    """

    detects_loss_late = False
    """Whether other connections' requests may be handled before this connection is known to be lost."""

    def __init__(self) -> None:
        """Start with an open connection."""
        self.registry: UndeliveredResponses | None = None
        self.running: Change | None = None
        """The change that is being applied."""
        self.unconfirmed: list[Change] = []
        """The changes whose responses were written and are not known to have arrived."""
        self.written: int = 0
        """How many bytes of responses were written."""
        self.has_ended: bool = False
        """Whether the client will send nothing more: it is gone, or waits for its response."""
        self.is_lost: bool = False
        self.closes = False
        """Whether the server closes the connection after the response, because the client requested that."""

    def offset(self) -> int:
        """Return how many more bytes than ``written`` the connection has sent."""
        return 0

    def forget_arrived(self) -> None:
        """Drop the changes whose responses have arrived."""
        self.unconfirmed.clear()

    def end(self) -> None:
        """Record that the client will send nothing more."""
        self.has_ended = True
        if self.running is not None and self.registry is not None:
            self.registry.remember(self.running)


class _OrganisationChanges:
    """The remembered changes of one organisation: by their fingerprints, and with their expiry, oldest first."""

    __slots__ = ("by_fingerprint", "expiry")

    def __init__(self) -> None:
        self.by_fingerprint: Final[dict[bytes, list[Change]]] = {}
        self.expiry: Final[dict[Change, float]] = {}


class UndeliveredResponses:
    """Remembers changes whose responses did not arrive.

    They are bounded in number, size and time, in all and per organisation.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        remembered_max: int = REMEMBERED_MAX,
        per_organisation_max: int = REMEMBERED_PER_ORGANISATION_MAX,
    ) -> None:
        """Start empty; ``clock`` returns seconds and never goes back."""
        self._clock: Final = clock
        self._remembered_max: Final = remembered_max
        self._per_organisation_max: Final = per_organisation_max
        self._organisations: Final[dict[str, _OrganisationChanges]] = {}
        self._sequence = 0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self.watched: Final = set[object]()
        """The closed connections of which it is not yet known what arrived."""

    @property
    def count(self) -> int:
        """How many changes are remembered."""
        return self._count

    def track(self, change: Change, delivery: Delivery) -> bool:
        """Start tracking a change that is about to be applied.

        Returns whether ``take_earlier_response`` must be called first.
        """
        self._sequence += 1
        change.sequence = self._sequence
        change.response_end = delivery.offset()
        delivery.registry = self
        delivery.running = change
        return bool(self._organisations) or delivery.detects_loss_late or delivery.has_ended or delivery.is_lost

    async def take_earlier_response(self, change: Change, delivery: Delivery) -> Response | None:
        """Return the lost response to the same request, if any; waits until it is known."""
        if delivery.detects_loss_late:
            await asyncio.sleep(0)
        earlier = self._take(change) if self._organisations else None
        if delivery.has_ended or delivery.is_lost:
            self.remember(change)
        while earlier is not None:
            response = await earlier.lost_response()
            if response is not None:
                return mark_replayed(response)
            earlier = self._take(change)
        return None

    def record_response(self, change: Change, delivery: Delivery, response: Response | None) -> None:
        """Record the response to a change, None if the change had no effect."""
        delivery.running = None
        if response is None or len(response.body) > _RESPONSE_BYTES_MAX:
            self.resolve(change, None)
            return
        change.response = response
        if delivery.is_lost:
            self.resolve(change, response)
            return
        change.response_end += delivery.written
        if change.body_size > _BODY_BYTES_KEPT_MAX:
            # Many idle connections hold their last changes: keep the hash instead of a large body.
            change.fingerprint()
        if len(delivery.unconfirmed) >= _UNCONFIRMED_MAX:
            delivery.forget_arrived()
            for oldest in delivery.unconfirmed[: len(delivery.unconfirmed) - _UNCONFIRMED_MAX + 1]:
                self.resolve(oldest, None)
            del delivery.unconfirmed[: len(delivery.unconfirmed) - _UNCONFIRMED_MAX + 1]
        delivery.unconfirmed.append(change)

    def resolve(self, change: Change, lost_response: Response | None) -> None:
        """Record that a response was lost, or with None that there is nothing to give again."""
        if lost_response is None:
            self._forget(change)
        change.resolve(lost_response)

    def remember(self, change: Change) -> None:
        """Remember a change whose connection is lost or may be; has no effect the second time."""
        if change.is_remembered:
            return
        change.is_remembered = True
        changes = self._organisations.setdefault(change.organisation, _OrganisationChanges())
        changes.by_fingerprint.setdefault(change.fingerprint(), []).append(change)
        changes.expiry[change] = self._clock() + REMEMBERED_SECONDS
        self._count += 1
        if len(changes.expiry) > self._per_organisation_max:
            self._forget(next(iter(changes.expiry)))
        if self._count > self._remembered_max:
            largest = max(self._organisations.values(), key=lambda each: len(each.expiry))
            self._forget(next(iter(largest.expiry)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REMEMBERED_SECONDS, self.forget_expired)

    def forget_expired(self) -> None:
        """Forget the changes that were remembered for long enough."""
        now = self._clock()
        for changes in list(self._organisations.values()):
            for change in [change for change, expiry in changes.expiry.items() if expiry <= now]:
                self._forget(change)
        self._timer = None
        if self._organisations:
            self._timer = asyncio.get_running_loop().call_later(_CLEANUP_SECONDS, self.forget_expired)

    def _take(self, change: Change) -> Change | None:
        """Take the first remembered change with the same request that is older; each is given to one repeat only."""
        changes = self._organisations.get(change.organisation)
        if changes is None:
            return None
        now = self._clock()
        for earlier in changes.by_fingerprint.get(change.fingerprint(), ()):
            # A later one may itself be waiting for this one.
            if earlier.sequence < change.sequence and changes.expiry[earlier] > now:
                self._forget(earlier)
                return earlier
        return None

    def _forget(self, change: Change) -> None:
        changes = self._organisations.get(change.organisation)
        if changes is None or changes.expiry.pop(change, None) is None:
            return
        self._count -= 1
        same = changes.by_fingerprint[change.fingerprint()]
        same.remove(change)
        if not same:
            del changes.by_fingerprint[change.fingerprint()]
        if not changes.expiry:
            del self._organisations[change.organisation]


def mark_replayed(response: Response) -> Response:
    """Return the same response with ``Idempotent-Replayed: true``."""
    if REPLAYED in response.headers:
        return response
    return msgspec.structs.replace(response, headers=[*response.headers, REPLAYED])
