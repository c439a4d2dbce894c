"""How long batches take, and how many items one may hold so that none takes long."""

from typing import Final

_BELIEVED_AFTER: Final = 4
"""A change of pace is believed after about so many batches."""
_HELPED: Final = 0.75
"""A batch of half the items that takes more than this part of the time was not worth halving."""
_PATIENCE: Final = 2.5
_IMPATIENCE: Final = 0.98


class Pace:
    """Finds how many items a batch may hold.

    A batch that takes long is halved, and one that takes a short time doubled. Where halving does not help, because the
    time goes into the way and not into the items, longer batches are put up with for a while.
    """

    def __init__(self, batch_max: int, seconds_long: float, seconds_max: float) -> None:
        """Begin with ``batch_max``; batches are to take less than ``seconds_long``, and never ``seconds_max``."""
        self.batch_max: int = batch_max
        self.seconds: float = 0.0
        self._most: Final = batch_max
        self._seconds_long: Final = seconds_long
        self._seconds_max: Final = seconds_max
        self._tolerated = seconds_long
        self._halved: tuple[int, float] | None = None

    def took(self, count: int, seconds: float) -> None:
        """Learn that a batch of ``count`` items took so long."""
        self.seconds += (seconds - self.seconds) / _BELIEVED_AFTER
        if seconds <= self._tolerated:
            self._halved = None
            if count >= self.batch_max < self._most and seconds <= self._tolerated / 2:
                self.batch_max = min(self._most, 2 * self.batch_max)
        elif count > 1:
            self._shorten(count, seconds)
        self._tolerated = max(self._seconds_long, self._tolerated * _IMPATIENCE)

    def gave_up(self, count: int) -> None:
        """Learn that a batch was not through when its time was over."""
        self.batch_max = max(1, min(self.batch_max, count // 2))

    def _shorten(self, count: int, seconds: float) -> None:
        halved, self._halved = self._halved, None
        if halved is not None and count < halved[0] * _HELPED and seconds > halved[1] * _HELPED:
            self.batch_max = halved[0]
            self._tolerated = min(self._seconds_max, seconds * _PATIENCE)
            return
        self._halved = count, seconds
        self.batch_max = max(1, count // 2)
