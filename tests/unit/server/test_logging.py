"""The log: JSON for machines, text for people, one line an entry."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from sessionary.server.http.request_log import RequestLog
from sessionary.server.logging import AccessLog, configure_logging, uses_json

NOVEMBER_SECONDS = 1_795_385_340.123
SESSION = "01a20698-7062-75f8-ba1b-b96409814bf8"
EXCHANGE = RequestLog(
    "id-1",
    "PUT",
    "demo",
    "update_session",
    200,
    1.23456,
    client=("10.0.0.7", 5_000),
    path=b"/never/shown",
    token_id="0123456789abcdef0123",
    session_id=SESSION,
    request_bytes=12,
    response_bytes=34,
)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.fixture(autouse=True)
def restore_loggers() -> Iterator[None]:
    """Undo the configuration, which is global."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("uvicorn").level
    yield
    root.handlers[:], level, uvicorn = before
    root.setLevel(level)
    logging.getLogger("uvicorn").setLevel(uvicorn)


def access_log(stream: io.StringIO, log_level: str = "info", *, as_json: bool = True) -> AccessLog:
    return AccessLog(
        log_level,
        as_json=as_json,
        write=lambda text: print(text.decode(), end="", file=stream),
        clock=lambda: NOVEMBER_SECONDS,
    )


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
def test_the_log_is_json_unless_on_a_terminal(
    log_format: str,
    terminal: bool,  # noqa: FBT001 - a parameter of the test
    expected: bool,  # noqa: FBT001 - as above
) -> None:
    assert uses_json(log_format, Terminal() if terminal else io.StringIO()) is expected


async def test_a_request_is_one_line_of_json() -> None:
    stream = io.StringIO()
    log = access_log(stream)
    log(EXCHANGE)
    log(RequestLog("id-2", "GET", None, None, 503, 5.0))
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
        "milliseconds": 1.234,
        "client": "10.0.0.7",
        "token_id": "0123456789abcdef0123",
        "session_id": SESSION,
        "request_bytes": 12,
        "response_bytes": 34,
    }
    assert json.loads(lines[1])["level"] == "error"
    assert json.loads(lines[1])["organisation"] is None


async def test_a_request_is_one_readable_line_of_text() -> None:
    stream = io.StringIO()
    log = access_log(stream, as_json=False)
    log(EXCHANGE)
    log(RequestLog("id-2", "GET", None, None, 404, 12.0, path=b"/nowhere"))
    log.flush()
    assert stream.getvalue().splitlines() == [
        f"22:09:00.123 200 PUT    update_session      1.23 ms  demo  {SESSION}  id-1  10.0.0.7  0123456789abcdef0123  12/34 bytes",
        "22:09:00.123 404 GET    -                  12.00 ms  -  /nowhere  id-2  -  -  0/0 bytes",
    ]


async def test_lines_are_written_together_and_soon() -> None:
    writes = asyncio.Queue[bytes]()
    log = AccessLog("info", as_json=True, write=writes.put_nowait)
    for _ in range(50):
        log(EXCHANGE)
    assert writes.empty()
    async with asyncio.timeout(10):
        assert len((await writes.get()).splitlines()) == 50
    assert writes.empty()


async def test_at_most_a_thousand_lines_are_pending() -> None:
    stream = io.StringIO()
    log = access_log(stream)
    for _ in range(1_001):
        log(EXCHANGE)
    assert len(stream.getvalue().splitlines()) == 1_000
    log.flush()
    assert len(stream.getvalue().splitlines()) == 1_001


@pytest.mark.parametrize("log_level", ["debug", "info", "warning"])
@pytest.mark.parametrize("status", [200, 503])
async def test_health_checks_are_logged_at_debug_only(log_level: str, status: int) -> None:
    stream = io.StringIO()
    log = access_log(stream, log_level)
    log(RequestLog("id", "GET", None, "/health/ready", status, 1.0))
    log(RequestLog("id", "GET", None, "/health/live", status, 1.0))
    log.flush()
    assert len(stream.getvalue().splitlines()) == (2 if log_level == "debug" else 0)


async def test_a_changed_level_takes_effect_at_once() -> None:
    stream = io.StringIO()
    log = access_log(stream, "error")
    log(EXCHANGE)
    log.set_level("info")
    log(EXCHANGE)
    log.set_level("error")
    log(EXCHANGE)
    log.flush()
    assert len(stream.getvalue().splitlines()) == 1


RAW_BYTES = [
    (b"/nowhere", "/nowhere"),
    (b"/a%0Ab%1b[31m", "/a%0Ab%1b[31m"),
    (b"/a\nb\x1b[31mc\x7f", "/a\\nb\\x1b[31mc\\x7f"),
    (b"/\xc2\x9b31m\xff", "/\\xc2\\x9b31m\\xff"),
    (b"/" + b"x" * 1_000, "/" + "x" * 199 + "…"),
    (b"/sny_0123456789abcdef0123_ffff/x", "/sny_***/x"),
    (b"/sny%5F0123456789abcdef0123%5Fffff", "/sny_***"),
]


@pytest.mark.parametrize(("raw", "expected"), RAW_BYTES, ids=ascii)
@pytest.mark.parametrize("as_json", [True, False])
async def test_bytes_from_a_caller_are_truncated_and_escaped(raw: bytes, expected: str, as_json: bool) -> None:  # noqa: FBT001 - a parameter of the test
    stream = io.StringIO()
    log = access_log(stream, as_json=as_json)
    log(RequestLog("id", "GET", None, None, 404, 1.0, path=raw, forwarded_for=raw))
    log.flush()
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert line.isprintable()
    if as_json:
        assert (json.loads(line)["path"], json.loads(line)["forwarded_for"]) == (expected, expected)
    else:
        assert line.count(expected) == 2


TOKEN = f"sny_0123456789abcdef0123_{'f' * 72}"
TOKEN_FORMS = [TOKEN, TOKEN.replace("_", "%5F"), TOKEN.replace("_", "%255f"), f"disny_{TOKEN}", f"x{TOKEN}"]


@pytest.mark.parametrize("token", TOKEN_FORMS)
@pytest.mark.parametrize("member", ["request_id", "organisation", "token_id", "session_id", "method", "route"])
@pytest.mark.parametrize("as_json", [True, False])
async def test_no_member_of_an_access_entry_shows_a_token(member: str, token: str, as_json: bool) -> None:  # noqa: FBT001 - a parameter of the test
    stream = io.StringIO()
    log = access_log(stream, as_json=as_json)
    log(replace(EXCHANGE, **{member: token}))
    log(EXCHANGE)
    log.flush()
    hidden, plain = stream.getvalue().splitlines()
    assert "sny_***" in hidden
    assert "0123456789abcdef0123_" not in hidden
    assert "ffff" not in hidden
    if as_json:
        assert json.loads(hidden)[member].endswith("sny_***")
        assert json.loads(plain)["organisation"] == "demo"


async def test_a_token_that_is_percent_encoded_is_not_logged() -> None:
    stream = io.StringIO()
    log = access_log(stream)
    encoded = "".join(f"%{ord(letter):02x}" for letter in TOKEN[:50]).encode()
    log(RequestLog("id", "GET", None, None, 404, 1.0, path=b"/" + encoded, forwarded_for=b"%73ny_0123456789abcdef"))
    log.flush()
    entry = json.loads(stream.getvalue())
    assert (entry["path"], entry["forwarded_for"]) == ("/sny_***", "sny_***")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_log_entry_shows_a_token(log_format: str) -> None:
    stream = io.StringIO()
    queue = configure_logging(log_format, "info", stream)
    try:
        raise ValueError(TOKEN)  # noqa: TRY301 - the test needs a traceback
    except ValueError:
        logging.getLogger("sessionary.x").exception("For %s.", TOKEN, extra={"fields": {"address": TOKEN}})
    assert queue.flush(10)
    assert "sny_***" in stream.getvalue()
    assert "ffff" not in stream.getvalue()


@pytest.mark.parametrize("session_id", ["kanarienvogel", "a\nb", SESSION + "\n", "x" * 10_000])
async def test_an_invalid_session_id_is_not_logged(session_id: str) -> None:
    stream = io.StringIO()
    log = access_log(stream)
    log(RequestLog("id", "GET", "demo", "get_session", 404, 1.0, path=b"/x", session_id=session_id))
    log.flush()
    entry = json.loads(stream.getvalue())
    assert (entry["session_id"], entry["path"]) == (None, "/x")


@pytest.mark.parametrize(
    ("log_level", "statuses"),
    [("debug", [200, 404, 500]), ("info", [200, 404, 500]), ("warning", [500]), ("error", [500])],
)
async def test_above_the_level_info_only_server_errors_are_logged(log_level: str, statuses: list[int]) -> None:
    stream = io.StringIO()
    log = access_log(stream, log_level)
    for status in (200, 404, 500):
        log(RequestLog("id", "GET", "demo", "get_session", status, 1.0))
    log.flush()
    assert [json.loads(line)["status"] for line in stream.getvalue().splitlines()] == statuses


@pytest.mark.parametrize("organisation", ['"', "\\", "\u2028", "emoji 🎈", "a\u200bb", "</script>"])
async def test_no_organisation_name_breaks_a_line(organisation: str) -> None:
    stream = io.StringIO()
    log = access_log(stream)
    log(RequestLog("id", "GET", organisation, "get_session", 200, 1.0))
    log.flush()
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert json.loads(line)["organisation"] == organisation


def test_a_log_entry_is_one_line_of_json_with_its_traceback() -> None:
    stream = io.StringIO()
    queue = configure_logging("auto", "info", stream)
    try:
        raise ValueError("two\nlines")  # noqa: TRY301 - the test needs a traceback
    except ValueError:
        logging.getLogger("sessionary.server.store").exception("It failed for %s.", "a reason")
    assert queue.flush(10)
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == (
        "error",
        "sessionary.server.store",
        "It failed for a reason.",
    )
    assert entry["exception"].startswith("Traceback (most recent call last):")
    assert entry["exception"].endswith("ValueError: two\nlines")
    assert entry["time"].endswith("Z")


def test_a_log_entry_is_readable_on_a_terminal() -> None:
    stream = Terminal()
    queue = configure_logging("auto", "info", stream)
    logging.getLogger("sessionary.expiry").info("Swept %d expired sessions.", 3)
    assert queue.flush(10)
    assert stream.getvalue()[8:] == " INFO    Swept 3 expired sessions.\n"


@pytest.mark.parametrize(("log_level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_entries_below_the_level_are_not_logged(log_level: str, count: int) -> None:
    stream = io.StringIO()
    queue = configure_logging("json", log_level, stream)
    for severity in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("sessionary.server.store").log(severity, "entry")
    assert queue.flush(10)
    assert len(stream.getvalue().splitlines()) == count


def test_info_messages_of_uvicorn_are_not_logged() -> None:
    stream = io.StringIO()
    queue = configure_logging("json", "debug", stream)
    logging.getLogger("uvicorn.error").info("Started server process")
    assert queue.flush(10)
    assert stream.getvalue() == ""
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert queue.flush(10)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_log_entry_cannot_break_its_line_or_control_a_terminal() -> None:
    stream = Terminal()
    queue = configure_logging("text", "info", stream)
    logging.getLogger("sessionary.server.store").warning("It said %s.", "a\nb\x1b[31m")
    assert queue.flush(10)
    assert stream.getvalue()[8:] == " WARNING It said a\\nb\\x1b[31m.\n"


def test_a_log_entry_may_have_additional_members() -> None:
    stream = io.StringIO()
    queue = configure_logging("json", "info", stream)
    logging.getLogger("sessionary.server.run").info("Listening.", extra={"fields": {"address": "http://x"}})
    assert queue.flush(10)
    assert json.loads(stream.getvalue())["address"] == "http://x"
