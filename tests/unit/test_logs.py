"""The log: JSON for machines, text for people, one line an entry."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import TextIO

import pytest

from sessionary.http.app import Exchange
from sessionary.logs import AccessLog, configure, wants_json

NOVEMBER_SECONDS = 1_795_385_340.123
EXCHANGE = Exchange("id-1", "PUT", "demo", "update_session", 200, 1.23456)


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


class Counted(io.StringIO):
    """A stream that counts how often it was written to."""

    writes = 0

    def write(self, text: str, /) -> int:
        """Count, and write."""
        self.writes += 1
        return super().write(text)


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """Configuring is for the whole process: undo it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("uvicorn").level
    yield
    root.handlers[:], level, uvicorn = before
    root.setLevel(level)
    logging.getLogger("uvicorn").setLevel(uvicorn)


def access_log(stream: TextIO, log_level: str = "info", *, as_json: bool = True) -> AccessLog:
    return AccessLog(log_level, as_json=as_json, stream=stream, clock=lambda: NOVEMBER_SECONDS)


@pytest.mark.parametrize(
    ("log_format", "terminal", "expected"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("json", True, True),
        ("json", False, True),
        ("text", True, False),
        ("text", False, False),
    ],
)
def test_the_log_is_json_unless_a_person_looks(
    log_format: str,
    terminal: bool,  # noqa: FBT001 - a row
    expected: bool,  # noqa: FBT001 - as above
) -> None:
    assert wants_json(log_format, Terminal() if terminal else io.StringIO()) is expected


async def test_a_request_is_one_json_object_a_line() -> None:
    stream = io.StringIO()
    log = access_log(stream)
    log(EXCHANGE)
    log(Exchange("id-2", "GET", None, None, 503, 5.0))
    log.flush()
    lines = stream.getvalue().splitlines()
    assert json.loads(lines[0]) == {
        "time": "2026-11-22T22:09:00.123Z",
        "level": "info",
        "logger": "sessionary.access",
        "request_id": "id-1",
        "organisation": "demo",
        "route": "update_session",
        "method": "PUT",
        "status": 200,
        "milliseconds": 1.235,
    }
    assert json.loads(lines[1])["level"] == "error"
    assert json.loads(lines[1])["organisation"] is None


async def test_a_request_is_one_readable_line_for_people() -> None:
    stream = io.StringIO()
    log = access_log(stream, as_json=False)
    log(EXCHANGE)
    log(Exchange("id-2", "GET", None, None, 404, 12.0))
    log.flush()
    assert stream.getvalue().splitlines() == [
        "22:09:00.123 200 PUT    update_session      1.23 ms  demo  id-1",
        "22:09:00.123 404 GET    -                  12.00 ms  -  id-2",
    ]


async def test_lines_of_one_turn_of_the_loop_leave_in_one_write() -> None:
    stream = Counted()
    log = access_log(stream)
    for _ in range(50):
        log(EXCHANGE)
    assert stream.writes == 0
    await asyncio.sleep(0)
    assert stream.writes == 1
    assert len(stream.getvalue().splitlines()) == 50


async def test_no_more_than_a_thousand_lines_are_held() -> None:
    stream = io.StringIO()
    log = access_log(stream)
    for _ in range(1_001):
        log(EXCHANGE)
    assert len(stream.getvalue().splitlines()) == 1_000
    await asyncio.sleep(0)
    assert len(stream.getvalue().splitlines()) == 1_001


@pytest.mark.parametrize(
    ("log_level", "statuses"),
    [("debug", [200, 404, 500]), ("info", [200, 404, 500]), ("warning", [500]), ("error", [500])],
)
async def test_above_the_level_info_only_failures_of_ours_are_logged(log_level: str, statuses: list[int]) -> None:
    stream = io.StringIO()
    log = access_log(stream, log_level)
    for status in (200, 404, 500):
        log(Exchange("id", "GET", "demo", "get_session", status, 1.0))
    log.flush()
    assert [json.loads(line)["status"] for line in stream.getvalue().splitlines()] == statuses


@pytest.mark.parametrize("organisation", ['"', "\\", "\u2028", "emoji 🎈", "a\u200bb", "</script>"])
async def test_no_organisation_breaks_a_line(organisation: str) -> None:
    stream = io.StringIO()
    log = access_log(stream)
    log(Exchange("id", "GET", organisation, "get_session", 200, 1.0))
    log.flush()
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert json.loads(line)["organisation"] == organisation


def test_an_entry_of_the_program_is_one_json_object_with_its_traceback() -> None:
    stream = io.StringIO()
    configure("auto", "info", stream)
    try:
        raise ValueError("two\nlines")  # noqa: TRY301 - a traceback is wanted
    except ValueError:
        logging.getLogger("sessionary.store").exception("It failed for %s.", "a reason")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == (
        "error",
        "sessionary.store",
        "It failed for a reason.",
    )
    assert entry["exception"].startswith("Traceback (most recent call last):")
    assert entry["exception"].endswith("ValueError: two\nlines")
    assert entry["time"].endswith("Z")


def test_an_entry_of_the_program_is_readable_on_a_terminal() -> None:
    stream = Terminal()
    configure("auto", "info", stream)
    logging.getLogger("sessionary.expiry").info("Swept %d expired sessions.", 3)
    assert stream.getvalue()[8:] == " INFO    Swept 3 expired sessions.\n"


@pytest.mark.parametrize(("log_level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_entries_below_the_level_are_left_out(log_level: str, count: int) -> None:
    stream = io.StringIO()
    configure("json", log_level, stream)
    for severity in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("sessionary.store").log(severity, "entry")
    assert len(stream.getvalue().splitlines()) == count


def test_the_servers_library_does_not_chatter() -> None:
    stream = io.StringIO()
    configure("json", "debug", stream)
    logging.getLogger("uvicorn.error").info("Started server process")
    assert stream.getvalue() == ""
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert len(stream.getvalue().splitlines()) == 1
