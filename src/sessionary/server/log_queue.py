"""Writing log lines through a bounded queue and a thread, so that a blocked log never blocks the server."""

import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

BYTES_MAX: Final = 4 * 1024 * 1024
"""The size of the queue; lines beyond it are dropped and counted."""
_WRITE_BYTES: Final = 64 * 1024
_POLL_MILLISECONDS: Final = 1_000

Write = Callable[[bytes], None]


class LogQueue:
    """Accepts lines from any thread without blocking, and writes them in order in a thread of its own."""

    def __init__(self, write: Write, notice: Callable[[int], str], bytes_max: int = BYTES_MAX) -> None:
        """Write with ``write``; ``notice`` returns the line that reports how many lines were dropped."""
        self._write: Final = write
        self._notice: Final = notice
        self._bytes_max: Final = bytes_max
        self._changed: Final = threading.Condition()
        self._pieces: Final = deque[bytes]()
        self._queued_bytes = 0
        self._dropped = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def put(self, lines: str | bytes) -> None:
        """Queue lines, each with its line end; drops them if the queue is full."""
        piece = lines.encode("utf-8", "backslashreplace") if isinstance(lines, str) else lines
        with self._changed:
            if self._closed or self._queued_bytes + len(piece) > self._bytes_max:
                self._dropped += piece.count(b"\n")
                return
            self._pieces.append(piece)
            self._queued_bytes += len(piece)
            if self._thread is None:
                # A daemon, so that a blocked log does not keep the process from exiting.
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything was written, for at most ``seconds``; returns whether it was."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queued_bytes, seconds)

    def close(self, seconds: float) -> None:
        """Write what is queued, within ``seconds``, and accept no more lines."""
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
            written = self._try_write(b"".join(taken))
            with self._changed:
                self._queued_bytes -= sum(map(len, taken))
                # The reader is gone, or the disk is full: the server goes on without these lines.
                self._dropped += 0 if written else sum(piece.count(b"\n") for piece in taken)
                dropped = self._dropped if written else 0
                self._changed.notify_all()
            if dropped and self._try_write(self._notice(dropped).encode()):
                with self._changed:
                    self._dropped -= dropped

    def _take(self) -> list[bytes]:
        taken: list[bytes] = []
        size = 0
        while self._pieces and size < _WRITE_BYTES:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        return taken

    def _try_write(self, lines: bytes) -> bool:
        try:
            self._write(lines)
        except (OSError, ValueError):
            return False
        return True


def stream_writer(stream: TextIO | None) -> Write:
    """Return a function that writes to a stream; a file is written unbuffered, so that a crash loses nothing."""
    if stream is None:
        return lambda _: None
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return _text_writer(stream)
    return lambda lines: _write_all(number, lines)


def _text_writer(stream: TextIO) -> Write:
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
        # Another program that shares the pipe has made it non-blocking.
        poll = select.poll()
        poll.register(number, select.POLLOUT)
        poll.poll(_POLL_MILLISECONDS)
