"""Waiting fairly: a line for each owner, served in turn, in one bounded room."""

from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from msgspec import Struct

from sessionary.errors import OverloadedError

Ticket = TypeVar("Ticket", bound="Waiting")

_SHARE: Final = 4
"""What one owner may hold, in relation to what is left: alone four fifths of it all, never the last place."""
_RESERVE: Final = 8
"""One part in so many is kept out of that: for owners who hold little, however many others hold much."""
_LITTLE: Final = 16
"""Little is one part in so many of what is left, and always the first item."""


def share_of(room: int) -> int:
    """Say how much of a room is one owner's that is alone."""
    return (room - room // _RESERVE) * _SHARE // (_SHARE + 1)


def _may_hold(room: int, left: int) -> int:
    return max(_SHARE * (left - room // _RESERVE), left // _LITTLE)


class Waiting(Struct, eq=False):
    """What every waiting item has: its size in bytes, and the instant after which it is refused."""

    size: int
    late_at: float


class _Line(Generic[Ticket]):
    """What one owner has waiting, in its order."""

    __slots__ = ("owner", "size", "tickets")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.size = 0
        self.tickets: deque[Ticket] = deque()


class FairQueue(Generic[Ticket]):
    """A bounded room in which every owner has a line of its own, and the lines take turns.

    Whoever floods it fills a part of what is left, and so always leaves a part to the others.
    """

    def __init__(self, count_max: int, size_max: int) -> None:
        """Start empty, with room for ``count_max`` items of ``size_max`` bytes together."""
        self.count: int = 0
        self.size: int = 0
        self._count_max: Final = count_max
        self._size_max: Final = size_max
        self._lines: Final[dict[str, _Line[Ticket]]] = {}
        self._turns: Final[deque[_Line[Ticket]]] = deque()

    def check_room(self, count: int, size: int, owner: str) -> None:
        """Raise Overloaded unless ``count`` items of ``size`` bytes together are within the owner's share."""
        line = self._lines.get(owner)
        left, bytes_left = self._count_max - self.count - count, self._size_max - self.size - size
        if left < 0 or bytes_left < 0:
            raise OverloadedError(reason="the queue of the store is full")
        if line is None:
            return
        if len(line.tickets) + count > _may_hold(self._count_max, left):
            raise OverloadedError(reason="one organisation fills its share of the store's queue")
        if size and line.size + size > _may_hold(self._size_max, bytes_left):
            raise OverloadedError(reason="one organisation fills its share of the store's queue")

    def add(self, ticket: Ticket, owner: str) -> None:
        """Let a ticket wait behind the others of its owner."""
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = _Line(owner)
            self._turns.append(line)
        line.tickets.append(ticket)
        line.size += ticket.size
        self.count += 1
        self.size += ticket.size

    def gather(self, count_max: int, size_max: int) -> list[Ticket]:
        """Take what may go together, at least one; there must be one."""
        if self.count <= count_max and self.size <= size_max:
            return self._take_all()
        gathered: list[Ticket] = []
        size = 0
        while self._turns and len(gathered) < count_max:
            size += self._turns[0].tickets[0].size
            if gathered and size > size_max:
                break
            gathered.append(self._take())
        return gathered

    def _take_all(self) -> list[Ticket]:
        everything = [ticket for line in self._turns for ticket in line.tickets]
        self._lines.clear()
        self._turns.clear()
        self.count = self.size = 0
        return everything

    def _take(self) -> Ticket:
        """Take whose turn it is; its owner's next one has to wait for everybody else's."""
        line = self._turns[0]
        ticket = self._take_from(line)
        if not line.tickets:
            self._turns.popleft()
            del self._lines[line.owner]
        elif len(self._turns) > 1:
            self._turns.rotate(-1)
        return ticket

    def waits(self, owner: str) -> bool:
        """Whether this owner has anything waiting."""
        return owner in self._lines

    def ahead_of(self, owner: str) -> int:
        """Count what would be taken before the owner's next item, if it came now."""
        line = self._lines.get(owner)
        if line is None:
            return len(self._turns)
        own = len(line.tickets)
        return min(self.count, own + (len(self._turns) - 1) * (own + 1))

    def take_late(self, now: float) -> Iterator[Ticket]:
        """Take all that is late."""
        for _ in range(len(self._turns)):
            line = self._turns.popleft()
            while line.tickets and line.tickets[0].late_at <= now:
                yield self._take_from(line)
            if line.tickets:
                self._turns.append(line)
            else:
                del self._lines[line.owner]

    def late_next(self) -> float:
        """Say when the next item will be late; there must be one."""
        return min(line.tickets[0].late_at for line in self._turns)

    def _take_from(self, line: _Line[Ticket]) -> Ticket:
        ticket = line.tickets.popleft()
        line.size -= ticket.size
        self.count -= 1
        self.size -= ticket.size
        return ticket
