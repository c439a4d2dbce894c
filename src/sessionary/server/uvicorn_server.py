"""Running uvicorn: its configuration, graceful shutdown on SIGTERM, and the timeout of TLS handshakes."""

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
import uvloop

from sessionary.server.config import Settings
from sessionary.server.http.application import Application
from sessionary.server.listener import raise_file_limit
from sessionary.server.protocol import make_protocol_class
from sessionary.server.request_cycle import ConnectionLimits
from sessionary.server.unavailable_log import UnavailableLog

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_logger: Final = logging.getLogger("sessionary.server")


def make_config(
    application: Application, settings: Settings, tls: ssl.SSLContext | None, unavailable_log: UnavailableLog
) -> uvicorn.Config:
    """Make uvicorn's configuration for an application: its connection limits, TLS and the timeout for shutting down."""
    # A TLS connection has a second descriptor, from which the acknowledged bytes are read after it is closed.
    files_each = 2 if tls else 1
    connections = raise_file_limit(settings.connections * files_each) // files_each
    bounds = ConnectionLimits(
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
        idle_seconds=settings.idle_seconds,
        connections=connections,
    )
    config = uvicorn.Config(
        application,
        http=make_protocol_class(bounds, unavailable_log),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.shutdown_seconds) or 1,
    )
    config.load()
    config.ssl = tls
    return config


class EventLoop(uvloop.Loop):
    """Limits the time of a TLS handshake to that of the headers; uvicorn leaves the default of one minute."""

    def __init__(self, handshake_seconds: float) -> None:
        """Close connections whose TLS handshake takes longer than this."""
        super().__init__()
        self._handshake_seconds = handshake_seconds

    async def create_server(self, *arguments: Any, **named: Any) -> Any:
        """Start a server, with the timeout of the handshake if it uses TLS."""
        if named.get("ssl") is not None:
            named["ssl_handshake_timeout"] = self._handshake_seconds
        return await super().create_server(*arguments, **named)


class GracefulServer(uvicorn.Server):
    """Shuts down gracefully on SIGTERM and SIGINT and exits with 0; uvicorn's own server would die by the signal."""

    def stop(self, number: signal.Signals) -> None:
        """Accept no more requests and stop when the accepted ones are answered; a second Ctrl-C stops at once."""
        running = len(self.server_state.tasks)
        if not self.should_exit:
            _logger.info(
                "Received %s; finishing %d requests.",
                number.name,
                running,
                extra={"fields": {"signal": number.name, "requests": running}},
            )
        self.handle_exit(number, None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the stop signals while the server runs."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.stop, number)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)
