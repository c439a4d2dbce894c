"""Log lines leave through a bounded queue: nobody who logs ever waits for who reads."""

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest

from sessionary.server.log_queue import LogQueue, writer_to
from tests.harness.waiting import poll


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A real pipe: the end to read and the end to write."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    with contextlib.suppress(OSError):
        os.close(reading)


def notice(count: int) -> str:
    return f"{count} dropped\n"


def test_a_pipe_that_nobody_reads_stops_nobody_and_is_told_how_much_it_missed(pipe: tuple[int, TextIO]) -> None:
    reading, writing = pipe
    queue = LogQueue(writer_to(writing), notice, bytes_max=100_000)
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
    told = sum(int(each.split()[0]) for each in lines if each.endswith(" dropped"))
    whole = lines.count("x" * 999)
    assert whole + told == 1_000
    assert 64 <= whole <= 250, "a pipe and the bound"
    writing.close()
    reader.join(timeout=10)


def drain(reading: int, into: io.BytesIO) -> None:
    try:
        while piece := os.read(reading, 65_536):
            into.write(piece)
    except OSError:
        pass


def test_a_pipe_that_was_closed_is_no_error(pipe: tuple[int, TextIO]) -> None:
    reading, writing = pipe
    queue = LogQueue(writer_to(writing), notice)
    os.close(reading)
    for _ in range(10):
        queue.put("line\n")
        assert queue.flush(10)
    queue.close(10)


def test_a_pipe_that_does_not_wait_is_waited_for(pipe: tuple[int, TextIO]) -> None:
    reading, writing = pipe
    os.set_blocking(writing.fileno(), False)
    queue = LogQueue(writer_to(writing), notice)
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


def test_without_a_standard_error_nothing_is_written() -> None:
    queue = LogQueue(writer_to(None), notice)
    queue.put("line\n")
    assert queue.flush(10)


def test_the_end_waits_for_what_is_held_but_not_for_ever(pipe: tuple[int, TextIO]) -> None:
    stream = io.StringIO()
    queue = LogQueue(writer_to(stream), notice)
    for number in range(1_000):
        queue.put(f"{number}\n")
    queue.close(10)
    assert len(stream.getvalue().splitlines()) == 1_000
    queue.put("too late\n")
    assert "too late" not in stream.getvalue()

    stuck = LogQueue(writer_to(pipe[1]), notice)
    stuck.put("x" * 1_000_000 + "\n")
    stuck.close(0.1)
    # What is written into a pipe while its end is closed would not end the tests either.
    threading.Thread(target=drain, args=(pipe[0], io.BytesIO()), daemon=True).start()
    assert stuck.flush(10)


def test_text_that_is_no_unicode_is_written_all_the_same() -> None:
    stream = io.StringIO()
    queue = LogQueue(writer_to(stream), notice)
    queue.put("a\udcffb\n")
    queue.close(10)
    assert stream.getvalue() == "a\\udcffb\n"
