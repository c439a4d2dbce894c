"""Estimates how long a batch takes, and from that how many items a batch may hold (its size adapts to the load)."""

from typing import Final

_SMOOTHING: Final = 4
"""The average follows a change of the latency within about so many batches."""
_NOT_FASTER: Final = 0.75
"""If half the items take more than this part of the time, the size of a batch is not what makes it slow."""
_TOLERANCE: Final = 2.5
_TOLERANCE_DECAY: Final = 0.98


class LatencyEstimator:
    """Averages the seconds a batch takes, and adapts the number of items in a batch to them.

    A slow batch is followed by one of half the size, a fast full batch by one of twice the size. If a batch of half the
    size is just as slow, the round trip takes the time and not the items: then the size is restored, and slow batches
    are tolerated for a while.
    """

    def __init__(self, batch_max: int, slow_seconds: float, seconds_max: float) -> None:
        """Start with ``batch_max`` items; batches should take less than ``slow_seconds``, and never ``seconds_max``."""
        self.batch_max: int = batch_max
        self.seconds: float = 0.0
        self._size_max: Final = batch_max
        self._slow_seconds: Final = slow_seconds
        self._seconds_max: Final = seconds_max
        self._tolerated = slow_seconds
        self._halved: tuple[int, float] | None = None
        """Size and seconds of the slow batch after which the size was halved."""

    def record(self, count: int, seconds: float) -> None:
        """Record that a batch of ``count`` items took ``seconds``."""
        self.seconds += (seconds - self.seconds) / _SMOOTHING
        if seconds <= self._tolerated:
            self._halved = None
            if count >= self.batch_max < self._size_max and seconds <= self._tolerated / 2:
                self.batch_max = min(self._size_max, 2 * self.batch_max)
        elif count > 1:
            self._halve(count, seconds)
        self._tolerated = max(self._slow_seconds, self._tolerated * _TOLERANCE_DECAY)

    def record_timeout(self, count: int) -> None:
        """Record that a batch of ``count`` items was not done within its time."""
        self.batch_max = max(1, min(self.batch_max, count // 2))

    def _halve(self, count: int, seconds: float) -> None:
        halved, self._halved = self._halved, None
        if halved is not None and count < halved[0] * _NOT_FASTER and seconds > halved[1] * _NOT_FASTER:
            self.batch_max = halved[0]
            self._tolerated = min(self._seconds_max, seconds * _TOLERANCE)
            return
        self._halved = count, seconds
        self.batch_max = max(1, count // 2)
