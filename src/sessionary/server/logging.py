"""The log: one line an entry, readable on a terminal, JSON elsewhere; never a body, a token or a message."""

import asyncio
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TextIO
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from sessionary.server.http.health import LIVE, READY
from sessionary.server.http.request_log import RequestLog
from sessionary.server.log_queue import LogQueue, writer_to
from sessionary.timestamps import format_timestamp

_encode: Final = msgspec.json.Encoder().encode
_encode_lines: Final = msgspec.json.Encoder().encode_lines
_SERVER_ERROR: Final = 500
_NOT_FOUND: Final = 404
_REFUSED: Final = 400
_LEVELS_OF_ALL: Final = frozenset({"debug", "info"})
_PROBES: Final = frozenset({LIVE.decode(), READY.decode()})
_ENTRIES_HELD_MAX: Final = 1_000
_PAUSE_SECONDS: Final = 0.02
_SHOWN_MAX: Final = 200
_SESSION_ID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# Whatever begins as a token does is taken for one, wherever it stands.
_TOKEN: Final = re.compile(r"sny(?:_|%(?:25)*5[Ff])[0-9A-Za-z_%]*")
_TOKEN_BYTES: Final = re.compile(_TOKEN.pattern.encode())
_DECODINGS_MAX: Final = 3


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format an entry of the program."""
        entry = {
            "time": format_timestamp(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _encode(entry).decode()


class TextFormatter(logging.Formatter):
    """A readable line; only a traceback has more."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base names it
        """Format an entry in one line."""
        return one_line(super().formatMessage(record))


class _QueueHandler(logging.Handler):
    def __init__(self, queue: LogQueue) -> None:
        super().__init__()
        self.queue: Final = queue

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put(f"{_TOKEN.sub('sny_***', self.format(record))}\n")
        except Exception:  # noqa: BLE001 - logging's own way: an entry that cannot be written harms nobody
            self.handleError(record)


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """Read the members that an entry has besides its message: ``extra={"fields": …}``."""
    found: Mapping[str, Any] = getattr(record, "fields", {})
    return found


def one_line(text: str) -> str:
    """Show a text without what would break its line or command a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def wants_json(log_format: str, stream: TextIO | None) -> bool:
    """Resolve ``auto``: JSON unless a person is looking."""
    return log_format == "json" or (log_format == "auto" and not (stream is not None and stream.isatty()))


def configure(log_format: str, log_level: str, stream: TextIO | None = None) -> LogQueue:
    """Send the entries of all loggers to a stream, the standard error if none is given, through a queue."""
    stream = sys.stderr if stream is None else stream
    formatter = JsonFormatter() if wants_json(log_format, stream) else TextFormatter()
    queue = LogQueue(writer_to(stream), lambda count: f"{formatter.format(_dropped(count))}\n")
    handler = _QueueHandler(queue)
    handler.setFormatter(formatter)
    logging.getLogger().handlers = [handler]
    set_level(log_level)
    # The server's own chatter about its start says nothing that ours does not.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return queue


def set_level(log_level: str) -> None:
    """Log from this level on."""
    logging.getLogger().setLevel(log_level.upper())


def _dropped(count: int) -> logging.LogRecord:
    text = "%d log lines were dropped: nobody read them, or they could not be written."
    return logging.LogRecord("sessionary.server.logging", logging.WARNING, "", 0, text, (count,), None)


class AccessLog:
    """Notes each request, and writes what it has noted a little later, all of it at once."""

    def __init__(
        self,
        log_level: str,
        *,
        as_json: bool,
        write: Callable[[bytes], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write as JSON or for people; above the level ``info`` only what failed for a reason of ours."""
        self._format: Final = _as_json if as_json else _as_text
        self._write: Final = write
        self._clock: Final = clock
        self._noted: list[tuple[RequestLog, int]] = []
        self.set_level(log_level)

    def set_level(self, log_level: str) -> None:
        """Write from this level on; probes are for ``debug``."""
        self._status_min = 0 if log_level in _LEVELS_OF_ALL else _SERVER_ERROR
        self._hidden = frozenset[str | None]() if log_level == "debug" else _PROBES

    def __call__(self, exchange: RequestLog) -> None:
        """Note a request that was answered."""
        if exchange.status < self._status_min or exchange.route in self._hidden:
            return
        if not self._noted:
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self.flush)
        self._noted.append((exchange, int(self._clock() * 1000)))
        if len(self._noted) >= _ENTRIES_HELD_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        noted, self._noted = self._noted, []
        if noted:
            lines = self._format(noted)
            # All members at once: a token may have been sent in the place of any of them. Most lines hold none.
            self._write(_TOKEN_BYTES.sub(b"sny_***", lines) if b"sny" in lines else lines)


class _Entry(Struct):
    time: str
    level: str
    logger: str
    request_id: str
    client: str | None
    organisation: str | None
    token_id: str | None
    session_id: str | None
    route: str | None
    method: str
    status: int
    milliseconds: float
    request_bytes: int
    response_bytes: int
    path: str | UnsetType = UNSET
    forwarded_for: str | UnsetType = UNSET


def _as_json(noted: Iterable[tuple[RequestLog, int]]) -> bytes:
    return _encode_lines(
        [
            _Entry(
                format_timestamp(now),
                _level_of(exchange),
                "sessionary.access",
                exchange.request_id,
                exchange.client[0] if exchange.client else None,
                exchange.organisation,
                exchange.token_id,
                _session_of(exchange),
                exchange.route,
                exchange.method,
                exchange.status,
                int(exchange.milliseconds * 1000) / 1000,
                exchange.request_bytes,
                exchange.response_bytes,
                _shown(exchange.path) if _has_no_place(exchange) else UNSET,
                UNSET if exchange.forwarded_for is None else _shown(exchange.forwarded_for),
            )
            for exchange, now in noted
        ]
    )


def _as_text(noted: Iterable[tuple[RequestLog, int]]) -> bytes:
    return "".join(f"{one_line(_text_of(exchange, now))}\n" for exchange, now in noted).encode()


def _text_of(exchange: RequestLog, now: int) -> str:
    place = _shown(exchange.path) if _has_no_place(exchange) else _session_of(exchange)
    client = exchange.client[0] if exchange.client else "-"
    forwarded = "" if exchange.forwarded_for is None else f" for {_shown(exchange.forwarded_for)}"
    return (
        f"{format_timestamp(now)[11:23]} {exchange.status} {exchange.method:<6} {exchange.route or '-':<15}"
        f" {exchange.milliseconds:8.2f} ms  {exchange.organisation or '-'}  {place or '-'}  {exchange.request_id}"
        f"  {client}{forwarded}  {exchange.token_id or '-'}  {exchange.request_bytes}/{exchange.response_bytes} bytes"
    )


def _level_of(exchange: RequestLog) -> str:
    if exchange.status >= _SERVER_ERROR:
        return "error"
    return "debug" if exchange.route in _PROBES else "info"


def _has_no_place(exchange: RequestLog) -> bool:
    return exchange.route is None or exchange.status == _NOT_FOUND


def _session_of(exchange: RequestLog) -> str | None:
    found = exchange.session_id
    if found is None or exchange.status < _REFUSED:
        # What was answered has been found, and so is one.
        return found or None
    return found if _SESSION_ID.fullmatch(found) else None


def _shown(raw: bytes) -> str:
    """Show what a caller chose: bounded, and as it came on the wire but for what hides a token."""
    text = raw[:_SHOWN_MAX].decode("ascii", "backslashreplace")
    if not text.isprintable():
        text = one_line(text)
    if "%" in text:
        text = _decoded_if_token(text)
    return text + ("…" if len(raw) > _SHOWN_MAX else "")


def _decoded_if_token(text: str) -> str:
    """Decode a text in which any letter of a token may be written as %XX; leaves every other as it came."""
    decoded = text
    for _ in range(_DECODINGS_MAX):
        decoded = unquote(decoded)
    return one_line(decoded) if "sny_" in decoded else text
