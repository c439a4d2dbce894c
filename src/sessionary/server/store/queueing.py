"""A bounded, fair queue (back-pressure): each organisation has a queue of its own, and they are served round robin.

An item for which there is no room is rejected at once (load shedding).
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from msgspec import Struct

from sessionary.errors import OverloadedError

Item = TypeVar("Item", bound="QueuedItem")

_SHARE: Final = 4
"""One organisation may hold so many times what is free: four fifths if it is alone, and never the last item."""
_RESERVE: Final = 8
"""One eighth of the capacity is not counted as free: it is for organisations that hold little."""
_LITTLE: Final = 16
"""Little is one sixteenth of what is free; the first item of an organisation is always little."""


def share_of(capacity: int) -> int:
    """Return how much of the capacity one organisation may hold if it is alone."""
    return (capacity - capacity // _RESERVE) * _SHARE // (_SHARE + 1)


def _may_hold(capacity: int, free: int) -> int:
    return max(_SHARE * (free - capacity // _RESERVE), free // _LITTLE)


class QueuedItem(Struct, eq=False):
    """What every queued item has: its size in bytes, and the time after which it is refused."""

    size: int
    late_at: float


class _OrganisationQueue(Generic[Item]):
    """The items of one organisation, in the order in which they came."""

    __slots__ = ("items", "organisation", "size")

    def __init__(self, organisation: str) -> None:
        self.organisation = organisation
        self.size = 0
        self.items: deque[Item] = deque()


class FairQueue(Generic[Item]):
    """A bounded queue of queues, one for each organisation, served round robin.

    What one organisation may hold depends on what is free, so one that floods the queue leaves room for the others.
    """

    def __init__(self, count_max: int, size_max: int) -> None:
        """Start empty, with room for ``count_max`` items of ``size_max`` bytes together."""
        self.count: int = 0
        self.size: int = 0
        self._count_max: Final = count_max
        self._size_max: Final = size_max
        self._queues: Final[dict[str, _OrganisationQueue[Item]]] = {}
        self._round_robin: Final[deque[_OrganisationQueue[Item]]] = deque()

    def check_room(self, size: int, organisation: str) -> None:
        """Raise OverloadedError unless one more item of ``size`` bytes is within the organisation's share."""
        queue = self._queues.get(organisation)
        free, free_bytes = self._count_max - self.count - 1, self._size_max - self.size - size
        if free < 0 or free_bytes < 0:
            raise OverloadedError(reason="the queue of the store is full")
        if queue is None:
            return
        if len(queue.items) + 1 > _may_hold(self._count_max, free):
            raise OverloadedError(reason="one organisation fills its share of the store's queue")
        if size and queue.size + size > _may_hold(self._size_max, free_bytes):
            raise OverloadedError(reason="one organisation fills its share of the store's queue")

    def add(self, item: Item, organisation: str) -> None:
        """Append an item to the queue of its organisation."""
        queue = self._queues.get(organisation)
        if queue is None:
            queue = self._queues[organisation] = _OrganisationQueue(organisation)
            self._round_robin.append(queue)
        queue.items.append(item)
        queue.size += item.size
        self.count += 1
        self.size += item.size

    def take_batch(self, count_max: int, size_max: int) -> list[Item]:
        """Take the items of the next batch, at least one; the queue must not be empty."""
        if self.count <= count_max and self.size <= size_max:
            return self._take_all()
        batch: list[Item] = []
        size = 0
        while self._round_robin and len(batch) < count_max:
            size += self._round_robin[0].items[0].size
            if batch and size > size_max:
                break
            batch.append(self._take_next())
        return batch

    def _take_all(self) -> list[Item]:
        batch = [item for queue in self._round_robin for item in queue.items]
        self._queues.clear()
        self._round_robin.clear()
        self.count = self.size = 0
        return batch

    def _take_next(self) -> Item:
        """Take the first item of the next organisation, which then is the last to be served again."""
        queue = self._round_robin[0]
        item = self._take_from(queue)
        if not queue.items:
            self._round_robin.popleft()
            del self._queues[queue.organisation]
        elif len(self._round_robin) > 1:
            self._round_robin.rotate(-1)
        return item

    def has_items(self, organisation: str) -> bool:
        """Return whether items of this organisation are queued."""
        return organisation in self._queues

    def count_before(self, organisation: str) -> int:
        """Count the items that would be taken before the organisation's next one, if it came now."""
        queue = self._queues.get(organisation)
        if queue is None:
            return len(self._round_robin)
        own = len(queue.items)
        return min(self.count, own + (len(self._round_robin) - 1) * (own + 1))

    def take_late(self, now: float) -> Iterator[Item]:
        """Take every item whose time is over."""
        for _ in range(len(self._round_robin)):
            queue = self._round_robin.popleft()
            while queue.items and queue.items[0].late_at <= now:
                yield self._take_from(queue)
            if queue.items:
                self._round_robin.append(queue)
            else:
                del self._queues[queue.organisation]

    def next_late_at(self) -> float:
        """Return when the next item will be late; the queue must not be empty."""
        return min(queue.items[0].late_at for queue in self._round_robin)

    def _take_from(self, queue: _OrganisationQueue[Item]) -> Item:
        item = queue.items.popleft()
        queue.size -= item.size
        self.count -= 1
        self.size -= item.size
        return item
