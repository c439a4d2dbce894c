"""How log lines leave the process: through a bounded queue and a thread, so that an unread log stops nothing."""

import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

BYTES_MAX: Final = 4 * 1024 * 1024
"""What is held while nobody reads; what comes beyond it is dropped and counted."""
_PIECE_BYTES: Final = 64 * 1024
_POLL_MILLISECONDS: Final = 1_000

Write = Callable[[bytes], None]


class LogQueue:
    """Takes whole lines from any thread, at once, and writes them in their order by a thread of its own."""

    def __init__(self, write: Write, notice: Callable[[int], str], bytes_max: int = BYTES_MAX) -> None:
        """Write by ``write``; ``notice`` makes the line that says how many lines were dropped."""
        self._write: Final = write
        self._notice: Final = notice
        self._bytes_max: Final = bytes_max
        self._changed: Final = threading.Condition()
        self._pieces: Final = deque[bytes]()
        self._held = 0
        self._dropped = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def put(self, lines: str | bytes) -> None:
        """Take lines, each with its end; drops them where too much waits already."""
        piece = lines.encode("utf-8", "backslashreplace") if isinstance(lines, str) else lines
        with self._changed:
            if self._closed or self._held + len(piece) > self._bytes_max:
                self._dropped += piece.count(b"\n")
                return
            self._pieces.append(piece)
            self._held += len(piece)
            if self._thread is None:
                # At the end of the process nobody waits for a thread that cannot get rid of its lines.
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all was written, at most so long; answers whether it was."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, seconds)

    def close(self, seconds: float) -> None:
        """Write what is held, within so many seconds, and take nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces or self._closed)
                if not self._pieces:
                    return
                taken = self._take()
            written = self._written(b"".join(taken))
            with self._changed:
                self._held -= sum(map(len, taken))
                # Nobody reads any more, or the disk is full: a log is not worth more than the service.
                self._dropped += 0 if written else sum(piece.count(b"\n") for piece in taken)
                dropped = self._dropped if written else 0
                self._changed.notify_all()
            if dropped and self._written(self._notice(dropped).encode()):
                with self._changed:
                    self._dropped -= dropped

    def _take(self) -> list[bytes]:
        taken: list[bytes] = []
        size = 0
        while self._pieces and size < _PIECE_BYTES:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        return taken

    def _written(self, lines: bytes) -> bool:
        try:
            self._write(lines)
        except (OSError, ValueError):
            return False
        return True


def writer_to(stream: TextIO | None) -> Write:
    """Make what writes to a stream: past its buffer if it is a file, for a buffer is lost with the process."""
    if stream is None:
        return _to_nowhere
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return _writer_of_text(stream)
    return lambda lines: _write_all(number, lines)


def _to_nowhere(_: bytes) -> None:
    pass


def _writer_of_text(stream: TextIO) -> Write:
    def write(lines: bytes) -> None:
        stream.write(lines.decode())
        stream.flush()

    return write


def _write_all(number: int, lines: bytes) -> None:
    rest = memoryview(lines)
    while rest:
        with contextlib.suppress(BlockingIOError):
            rest = rest[os.write(number, rest) :]
            continue
        # Some other program has made the pipe that it shares with us one that does not wait.
        poll = select.poll()
        poll.register(number, select.POLLOUT)
        poll.poll(_POLL_MILLISECONDS)
