"""The log: one line an entry, readable on a terminal, JSON elsewhere; never a body, a token or a message."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

import msgspec
from msgspec import Struct

from sessionary.http.app import Exchange
from sessionary.instants import instant

_encode: Final = msgspec.json.Encoder().encode
_SERVER_ERROR: Final = 500
_LEVELS_OF_ALL: Final = frozenset({"debug", "info"})
_LINES_HELD_MAX: Final = 1_000


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Spell an entry of the program."""
        entry = {
            "time": instant(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _encode(entry).decode()


def wants_json(log_format: str, stream: TextIO) -> bool:
    """Resolve ``auto``: JSON unless a person is looking."""
    return log_format == "json" or (log_format == "auto" and not stream.isatty())


def configure(log_format: str, log_level: str, stream: TextIO = sys.stderr) -> None:
    """Send the entries of all loggers to a stream."""
    handler = logging.StreamHandler(stream)
    if wants_json(log_format, stream):
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(log_level.upper())
    # The server's own chatter about its start says nothing that ours does not.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


class AccessLog:
    """Writes a line for each request. Lines of one turn of the event loop leave in one write."""

    def __init__(
        self,
        log_level: str,
        *,
        as_json: bool,
        stream: TextIO = sys.stderr,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to a stream, as JSON or for people; above the level ``info`` only what failed for a reason of ours."""
        self._status_min: Final = 0 if log_level in _LEVELS_OF_ALL else _SERVER_ERROR
        self._spell: Final = _as_json if as_json else _as_text
        self._stream: Final = stream
        self._clock: Final = clock
        self._lines: list[str] = []

    def __call__(self, exchange: Exchange) -> None:
        """Note a request that was answered."""
        if exchange.status < self._status_min:
            return
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(self._spell(exchange, int(self._clock() * 1000)))
        if len(self._lines) >= _LINES_HELD_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        lines, self._lines = self._lines, []
        if lines:
            self._stream.write("".join(lines))
            self._stream.flush()


class _Entry(Struct):
    time: str
    level: str
    logger: str
    request_id: str
    organisation: str | None
    route: str | None
    method: str
    status: int
    milliseconds: float


def _as_json(exchange: Exchange, now: int) -> str:
    entry = _Entry(
        instant(now),
        "error" if exchange.status >= _SERVER_ERROR else "info",
        "sessionary.access",
        exchange.request_id,
        exchange.organisation,
        exchange.route,
        exchange.method,
        exchange.status,
        round(exchange.milliseconds, 3),
    )
    return _encode(entry).decode() + "\n"


def _as_text(exchange: Exchange, now: int) -> str:
    return (
        f"{instant(now)[11:23]} {exchange.status} {exchange.method:<6} {exchange.route or '-':<15}"
        f" {exchange.milliseconds:8.2f} ms  {exchange.organisation or '-'}  {exchange.request_id}\n"
    )
