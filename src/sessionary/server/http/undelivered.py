"""Changes without an idempotency key whose answer did not arrive: the same request gets it, and has no second effect.

An append is a PUT, and clients believe that a PUT may be repeated when its connection breaks. What arrived is never
compared: two equal requests that were both answered are two.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from sessionary.server.http.responses import REPLAYED, Reply

REMEMBERED_SECONDS: Final = 60.0
"""How long an answer that did not arrive is kept."""
REMEMBERED_MAX: Final = 4096
REMEMBERED_OF_ONE_ORGANISATION_MAX: Final = 512
_ANSWER_BYTES_MAX: Final = 4096
"""No answer to a change is nearly as long: all that is remembered takes less than the product of the two."""

_BODY_BYTES_KEPT_MAX: Final = 1024
_ANSWERED_MAX: Final = 16
"""So many answers of a connection, the last ones, are followed: more only a caller has that sends before it reads."""
_SECONDS_BETWEEN_LOOKS: Final = 5.0

DELIVERY: Final = "sessionary.delivery"
"""Where a server puts the ``Delivery`` of a request's connection into its ASGI scope."""


class Change:
    """A change without a key, from the arrival of its request until its answer has arrived or is forgotten."""

    __slots__ = (
        "_fingerprint",
        "_names",
        "_outcome",
        "_parts",
        "_waiting",
        "end",
        "is_remembered",
        "is_settled",
        "number",
        "organisation",
        "reply",
        "size",
    )

    def __init__(self, organisation: str, names: tuple[str, ...], parts: tuple[bytes, ...]) -> None:
        """Name a request by its organisation and whatever else must be the same in a repeat; its body comes last."""
        self.organisation: Final = organisation
        self.number: int = 0
        self.reply: Reply | None = None
        """What it was answered with, if it may have had an effect."""
        self.end: int = 0
        """Where its answer ends in all that its connection sends; before it is written, what to add to find that."""
        self.is_remembered: bool = False
        self.is_settled: bool = False
        self.size: Final = len(parts[-1])
        self._names = names
        self._parts = parts
        self._fingerprint = b""
        self._outcome: Reply | None = None
        self._waiting: asyncio.Future[None] | None = None

    def fingerprint(self) -> bytes:
        """Tell this request from every other one, in a few bytes."""
        if not self._fingerprint:
            digest = hashlib.sha256()
            for part in (*map(str.encode, self._names), *self._parts):
                digest.update(b"%d:" % len(part))
                digest.update(part)
            self._fingerprint = digest.digest()
            self._names = self._parts = ()
        return self._fingerprint

    def settle(self, outcome: Reply | None) -> None:
        """Say that the answer did not arrive, or, with None, that it did or that there was no effect."""
        self.is_settled = True
        self._outcome = outcome
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def outcome(self) -> Reply | None:
        """Wait until this is settled; for the one request that takes its place."""
        if not self.is_settled:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._outcome


class Delivery:
    """Which changes on one connection are not known to be answered, and whether the connection lives.

    A server that knows what of an answer has arrived puts one of its own into the scope of each request.
    """

    hears_late = False
    """Whether a loss is told only after what came at the same time on other connections."""

    def __init__(self) -> None:
        """Begin with a connection that lives."""
        self.memory: Undelivered | None = None
        self.running: Change | None = None
        self.answered: list[Change] = []
        self.written: int = 0
        """How many bytes of answers were written."""
        self.has_ended: bool = False
        """Whether the caller will send nothing more: it has gone, or waits for what it asked."""
        self.is_lost: bool = False
        self.closes = False
        """Whether this server ends the connection after an answer, as its caller asked for."""

    def offset(self) -> int:
        """Say how many more bytes than ``written`` the connection has sent."""
        return 0

    def forget_arrived(self) -> None:
        """Drop the answers that have arrived."""
        self.answered.clear()

    def end(self) -> None:
        """Be told that the caller will send nothing more."""
        self.has_ended = True
        if self.running is not None and self.memory is not None:
            self.memory.remember(self.running)


class _Remembered:
    """What is remembered of one organisation: by its request, and the oldest first with the time it is kept until."""

    __slots__ = ("by_request", "until")

    def __init__(self) -> None:
        self.by_request: Final[dict[bytes, list[Change]]] = {}
        self.until: Final[dict[Change, float]] = {}


class Undelivered:
    """Remembers the changes whose answers did not arrive: few, small, not for long, and each organisation's apart."""

    def __init__(
        self,
        clock: Callable[[], float],
        most: int = REMEMBERED_MAX,
        most_of_one: int = REMEMBERED_OF_ONE_ORGANISATION_MAX,
    ) -> None:
        """Remember nothing yet; ``clock`` counts seconds and never runs backwards."""
        self._clock: Final = clock
        self._most: Final = most
        self._most_of_one: Final = most_of_one
        self._organisations: Final[dict[str, _Remembered]] = {}
        self._number = 0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self.watched: Final = set[object]()
        """The closed connections of which it is not yet known what arrived."""

    @property
    def count(self) -> int:
        """How many changes are remembered."""
        return self._count

    def begin(self, change: Change, delivery: Delivery) -> bool:
        """Follow a change whose request is whole and not yet applied; tell whether to ask for an ``earlier_reply``."""
        self._number += 1
        change.number = self._number
        change.end = delivery.offset()
        delivery.memory = self
        delivery.running = change
        return bool(self._organisations) or delivery.hears_late or delivery.has_ended or delivery.is_lost

    async def earlier_reply(self, change: Change, delivery: Delivery) -> Reply | None:
        """Answer what the same request got before and did not receive; waits until that is known."""
        if delivery.hears_late:
            await asyncio.sleep(0)
        earlier = self._take(change) if self._organisations else None
        if delivery.has_ended or delivery.is_lost:
            self.remember(change)
        while earlier is not None:
            reply = await earlier.outcome()
            if reply is not None:
                return replayed(reply)
            earlier = self._take(change)
        return None

    def answer(self, change: Change, delivery: Delivery, reply: Reply | None) -> None:
        """Be told that a change was answered, or that its connection is lost; without a reply it had no effect."""
        delivery.running = None
        if reply is None or len(reply.body) > _ANSWER_BYTES_MAX:
            self.settle(change, None)
            return
        change.reply = reply
        if delivery.is_lost:
            self.settle(change, reply)
            return
        change.end += delivery.written
        if change.size > _BODY_BYTES_KEPT_MAX:
            # Many connections rest after a change, each with its last ones.
            change.fingerprint()
        if len(delivery.answered) >= _ANSWERED_MAX:
            delivery.forget_arrived()
            for oldest in delivery.answered[: len(delivery.answered) - _ANSWERED_MAX + 1]:
                self.settle(oldest, None)
            del delivery.answered[: len(delivery.answered) - _ANSWERED_MAX + 1]
        delivery.answered.append(change)

    def settle(self, change: Change, outcome: Reply | None) -> None:
        """Say what became of an answer: it did not arrive, or, with None, nothing is to be given again."""
        if outcome is None:
            self._forget(change)
        change.settle(outcome)

    def remember(self, change: Change) -> None:
        """Keep a change whose connection is lost or about to be; once."""
        if change.is_remembered:
            return
        change.is_remembered = True
        of_one = self._organisations.setdefault(change.organisation, _Remembered())
        of_one.by_request.setdefault(change.fingerprint(), []).append(change)
        of_one.until[change] = self._clock() + REMEMBERED_SECONDS
        self._count += 1
        if len(of_one.until) > self._most_of_one:
            self._forget(next(iter(of_one.until)))
        if self._count > self._most:
            largest = max(self._organisations.values(), key=lambda each: len(each.until))
            self._forget(next(iter(largest.until)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REMEMBERED_SECONDS, self.forget_old)

    def forget_old(self) -> None:
        """Forget what was kept long enough."""
        now = self._clock()
        for of_one in list(self._organisations.values()):
            for change in [change for change, until in of_one.until.items() if until <= now]:
                self._forget(change)
        self._timer = None
        if self._organisations:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS_BETWEEN_LOOKS, self.forget_old)

    def _take(self, change: Change) -> Change | None:
        """Take the first of the same requests that came before this one; it has one repeat at a time."""
        of_one = self._organisations.get(change.organisation)
        if of_one is None:
            return None
        now = self._clock()
        for earlier in of_one.by_request.get(change.fingerprint(), ()):
            # A later one may itself wait for this one.
            if earlier.number < change.number and of_one.until[earlier] > now:
                self._forget(earlier)
                return earlier
        return None

    def _forget(self, change: Change) -> None:
        of_one = self._organisations.get(change.organisation)
        if of_one is None or of_one.until.pop(change, None) is None:
            return
        self._count -= 1
        same = of_one.by_request[change.fingerprint()]
        same.remove(change)
        if not same:
            del of_one.by_request[change.fingerprint()]
        if not of_one.until:
            del self._organisations[change.organisation]


def replayed(reply: Reply) -> Reply:
    """Make the same answer, marked as one that was given before."""
    if REPLAYED in reply.headers:
        return reply
    return msgspec.structs.replace(reply, headers=[*reply.headers, REPLAYED])
