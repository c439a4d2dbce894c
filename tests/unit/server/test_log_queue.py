"""Log lines are written through a bounded queue: logging never waits for a reader."""

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest

from sessionary.server.log_queue import LogQueue, stream_writer
from tests.harness.waiting import poll


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe: its read descriptor and its write stream."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    with contextlib.suppress(OSError):
        os.close(reading)


def notice(count: int) -> str:
    return f"{count} dropped\n"


def test_a_blocked_pipe_does_not_block_the_server_and_gets_a_notice_of_dropped_lines(pipe: tuple[int, TextIO]) -> None:
    reading, writing = pipe
    queue = LogQueue(stream_writer(writing), notice, bytes_max=100_000)
    line = "x" * 999 + "\n"

    for _ in range(1_000):
        queue.put(line)

    assert not queue.flush(0.05)
    read = io.BytesIO()
    reader = threading.Thread(target=drain, args=(reading, read))
    reader.start()
    assert queue.flush(10)
    queue.put("last\n")
    poll(lambda: b"last\n" in read.getvalue(), "the last line")
    queue.close(10)
    poll(lambda: b"dropped\n" in read.getvalue(), "the notice")
    lines = read.getvalue().decode().splitlines()
    dropped = sum(int(each.split()[0]) for each in lines if each.endswith(" dropped"))
    whole = lines.count("x" * 999)
    assert whole + dropped == 1_000
    assert 64 <= whole <= 250, "the size of a pipe and of the queue"
    writing.close()
    reader.join(timeout=10)


def drain(reading: int, into: io.BytesIO) -> None:
    try:
        while piece := os.read(reading, 65_536):
            into.write(piece)
    except OSError:
        pass


def test_a_closed_pipe_is_not_an_error(pipe: tuple[int, TextIO]) -> None:
    reading, writing = pipe
    queue = LogQueue(stream_writer(writing), notice)
    os.close(reading)
    for _ in range(10):
        queue.put("line\n")
        assert queue.flush(10)
    queue.close(10)


def test_a_non_blocking_pipe_is_waited_for(pipe: tuple[int, TextIO]) -> None:
    reading, writing = pipe
    os.set_blocking(writing.fileno(), False)
    queue = LogQueue(stream_writer(writing), notice)
    for number in range(300):
        queue.put(f"{number:>999}\n")
    read = io.BytesIO()
    reader = threading.Thread(target=drain, args=(reading, read))
    reader.start()
    assert queue.flush(20)
    queue.close(10)
    writing.close()
    reader.join(timeout=10)
    assert [int(line) for line in read.getvalue().splitlines()] == list(range(300))


def test_without_a_stream_lines_are_discarded() -> None:
    queue = LogQueue(stream_writer(None), notice)
    queue.put("line\n")
    assert queue.flush(10)


def test_closing_waits_for_queued_lines_but_not_forever(pipe: tuple[int, TextIO]) -> None:
    stream = io.StringIO()
    queue = LogQueue(stream_writer(stream), notice)
    for number in range(1_000):
        queue.put(f"{number}\n")
    queue.close(10)
    assert len(stream.getvalue().splitlines()) == 1_000
    queue.put("too late\n")
    assert "too late" not in stream.getvalue()

    stuck = LogQueue(stream_writer(pipe[1]), notice)
    stuck.put("x" * 1_000_000 + "\n")
    stuck.close(0.1)
    # So that the blocked thread can end.
    threading.Thread(target=drain, args=(pipe[0], io.BytesIO()), daemon=True).start()
    assert stuck.flush(10)


def test_text_that_is_not_valid_unicode_is_written_escaped() -> None:
    stream = io.StringIO()
    queue = LogQueue(stream_writer(stream), notice)
    queue.put("a\udcffb\n")
    queue.close(10)
    assert stream.getvalue() == "a\\udcffb\n"
