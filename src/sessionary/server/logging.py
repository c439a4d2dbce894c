"""Logging, and the access log: one line per entry, as text on a terminal and as JSON elsewhere.

A line never contains a body, a token or a message.
"""

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
from sessionary.server.log_queue import LogQueue, stream_writer
from sessionary.timestamps import format_timestamp

_encode: Final = msgspec.json.Encoder().encode
_encode_lines: Final = msgspec.json.Encoder().encode_lines
_SERVER_ERROR: Final = 500
_NOT_FOUND: Final = 404
_BAD_REQUEST: Final = 400
_LEVELS_OF_ALL: Final = frozenset({"debug", "info"})
_PROBES: Final = frozenset({LIVE.decode(), READY.decode()})
_PENDING_MAX: Final = 1_000
_PAUSE_SECONDS: Final = 0.02
_RAW_BYTES_MAX: Final = 200
_SESSION_ID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# Anything that starts like a token is treated as one, wherever it occurs.
_TOKEN: Final = re.compile(r"sny(?:_|%(?:25)*5[Ff])[0-9A-Za-z_%]*")
_TOKEN_BYTES: Final = re.compile(_TOKEN.pattern.encode())
_DECODINGS_MAX: Final = 3


class JsonFormatter(logging.Formatter):
    """Formats an entry as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Format an entry."""
        entry = {
            "time": format_timestamp(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extra_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _encode(entry).decode()


class TextFormatter(logging.Formatter):
    """Formats an entry as one readable line; a traceback adds more lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of the base class
        """Format an entry in one line."""
        return escape_control_characters(super().formatMessage(record))


class _QueueHandler(logging.Handler):
    def __init__(self, queue: LogQueue) -> None:
        super().__init__()
        self.queue: Final = queue

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put(f"{_TOKEN.sub('sny_***', self.format(record))}\n")
        except Exception:  # noqa: BLE001 - as the handlers of the standard library do: a log entry must not break its caller
            self.handleError(record)


def extra_fields(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return the additional members of an entry, which are logged with ``extra={"fields": …}``."""
    extra: Mapping[str, Any] = getattr(record, "fields", {})
    return extra


def escape_control_characters(text: str) -> str:
    """Escape all characters that would break the line or control a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def uses_json(log_format: str, stream: TextIO | None) -> bool:
    """Whether to log JSON; ``auto`` means JSON unless the stream is a terminal."""
    return log_format == "json" or (log_format == "auto" and not (stream is not None and stream.isatty()))


def configure_logging(log_format: str, log_level: str, stream: TextIO | None = None) -> LogQueue:
    """Send the entries of all loggers through a queue to a stream, by default the standard error."""
    stream = sys.stderr if stream is None else stream
    formatter = JsonFormatter() if uses_json(log_format, stream) else TextFormatter()
    queue = LogQueue(stream_writer(stream), lambda count: f"{formatter.format(_dropped_notice(count))}\n")
    handler = _QueueHandler(queue)
    handler.setFormatter(formatter)
    logging.getLogger().handlers = [handler]
    set_level(log_level)
    # uvicorn's messages about its start only repeat ours.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return queue


def set_level(log_level: str) -> None:
    """Log entries of this level and above."""
    logging.getLogger().setLevel(log_level.upper())


def _dropped_notice(count: int) -> logging.LogRecord:
    text = "%d log lines were dropped because the log was blocked or could not be written."
    return logging.LogRecord("sessionary.server.logging", logging.WARNING, "", 0, text, (count,), None)


class AccessLog:
    """Collects an entry for each request, and writes the collected entries together a little later."""

    def __init__(
        self,
        log_level: str,
        *,
        as_json: bool,
        write: Callable[[bytes], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write JSON or text; above the level ``info`` only requests that failed with a server error."""
        self._format: Final = _as_json if as_json else _as_text
        self._write: Final = write
        self._clock: Final = clock
        self._pending: list[tuple[RequestLog, int]] = []
        self.set_level(log_level)

    def set_level(self, log_level: str) -> None:
        """Set the level; health checks are only written at ``debug``."""
        self._status_min = 0 if log_level in _LEVELS_OF_ALL else _SERVER_ERROR
        self._hidden = frozenset[str | None]() if log_level == "debug" else _PROBES

    def __call__(self, request: RequestLog) -> None:
        """Add a request that was answered."""
        if request.status < self._status_min or request.route in self._hidden:
            return
        if not self._pending:
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self.flush)
        self._pending.append((request, int(self._clock() * 1000)))
        if len(self._pending) >= _PENDING_MAX:
            self.flush()

    def flush(self) -> None:
        """Write the collected entries."""
        pending, self._pending = self._pending, []
        if pending:
            lines = self._format(pending)
            # In the whole output: a caller may have sent a token in any member. Most output contains none.
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


def _as_json(pending: Iterable[tuple[RequestLog, int]]) -> bytes:
    return _encode_lines(
        [
            _Entry(
                format_timestamp(now),
                _level(request),
                "sessionary.access",
                request.request_id,
                request.client[0] if request.client else None,
                request.organisation,
                request.token_id,
                _session_id_of(request),
                request.route,
                request.method,
                request.status,
                int(request.milliseconds * 1000) / 1000,
                request.request_bytes,
                request.response_bytes,
                _format_raw(request.path) if _is_unmatched(request) else UNSET,
                UNSET if request.forwarded_for is None else _format_raw(request.forwarded_for),
            )
            for request, now in pending
        ]
    )


def _as_text(pending: Iterable[tuple[RequestLog, int]]) -> bytes:
    return "".join(f"{escape_control_characters(_format_line(request, now))}\n" for request, now in pending).encode()


def _format_line(request: RequestLog, now: int) -> str:
    target = _format_raw(request.path) if _is_unmatched(request) else _session_id_of(request)
    client = request.client[0] if request.client else "-"
    forwarded = "" if request.forwarded_for is None else f" for {_format_raw(request.forwarded_for)}"
    return (
        f"{format_timestamp(now)[11:23]} {request.status} {request.method:<6} {request.route or '-':<15}"
        f" {request.milliseconds:8.2f} ms  {request.organisation or '-'}  {target or '-'}  {request.request_id}"
        f"  {client}{forwarded}  {request.token_id or '-'}  {request.request_bytes}/{request.response_bytes} bytes"
    )


def _level(request: RequestLog) -> str:
    if request.status >= _SERVER_ERROR:
        return "error"
    return "debug" if request.route in _PROBES else "info"


def _is_unmatched(request: RequestLog) -> bool:
    return request.route is None or request.status == _NOT_FOUND


def _session_id_of(request: RequestLog) -> str | None:
    session_id = request.session_id
    if session_id is None or request.status < _BAD_REQUEST:
        # The request succeeded, so the session exists and this is its id.
        return session_id or None
    return session_id if _SESSION_ID.fullmatch(session_id) else None


def _format_raw(raw: bytes) -> str:
    """Truncate and escape bytes that a caller sent; percent-encoding is kept unless it hides a token."""
    text = raw[:_RAW_BYTES_MAX].decode("ascii", "backslashreplace")
    if not text.isprintable():
        text = escape_control_characters(text)
    if "%" in text:
        text = _decode_if_token(text)
    return text + ("…" if len(raw) > _RAW_BYTES_MAX else "")


def _decode_if_token(text: str) -> str:
    """Percent-decode a text if that reveals a token, so that it is masked; return any other text unchanged."""
    decoded = text
    for _ in range(_DECODINGS_MAX):
        decoded = unquote(decoded)
    return escape_control_characters(decoded) if "sny_" in decoded else text
