"""Config → store → app → server: start in this order, stop in the other."""

import asyncio
import contextlib
import gc
import logging
import secrets
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TextIO

import uvicorn
import uvloop
from msgspec import Struct

from sessionary import limits, logs
from sessionary.allowances import allowances_of
from sessionary.clocks import request_ids, steady_clock
from sessionary.config import Settings
from sessionary.connections import Bounds, bounded_protocol
from sessionary.errors import StoreUnavailable
from sessionary.http.app import Application
from sessionary.listening import listen, room_for, shown_host, tls_context
from sessionary.operations.allowances import Allowances
from sessionary.operations.context import Service
from sessionary.operations.expiry import sweep_forever
from sessionary.operations.identifiers import SessionIds
from sessionary.operations.quotas import Quotas
from sessionary.operations.rates import Rates
from sessionary.operations.tokens import TokenMaker, create_first_token
from sessionary.store.base import Clock, Store
from sessionary.store.opening import migrate, open_store, pending_migrations, shown_place

FIRST_ORGANISATION: Final = "demo"
_OBJECTS_BETWEEN_COLLECTIONS: Final = 20_000
_CLOSING_SECONDS_MAX: Final = 1.5
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)

_logger: Final = logging.getLogger("sessionary.serve")


def serve(settings: Settings) -> None:
    """Run a server until it is told to stop; raises Unavailable if it cannot start."""
    logs.configure(settings.log_format, settings.log_level)
    prepared = _Prepared(settings, tls_context(settings), allowances_of(settings))
    # Told to stop while it still started: there is nothing to finish, and nothing went wrong.
    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(_stoppable(_serve(prepared)), loop_factory=lambda: _Loop(settings.header_seconds))


async def _stoppable(serving: Coroutine[Any, Any, None]) -> None:
    """Give up on SIGTERM and SIGINT, until the server itself listens to them."""
    task = asyncio.create_task(serving)
    for number in _STOPS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


class _Prepared(Struct, frozen=True):
    """What is read before anything is touched."""

    settings: Settings
    tls: ssl.SSLContext | None
    allowances: Allowances


async def _serve(prepared: _Prepared) -> None:
    settings = prepared.settings
    clock = steady_clock()
    # First the address: where it is taken nothing else shall have been touched.
    with listen(settings) as listener:
        store = await _open(settings, clock)
        try:
            await _answer(prepared, store, clock, listener)
        finally:
            await _close(store)


async def _answer(prepared: _Prepared, store: Store, clock: Clock, listener: socket.socket) -> None:
    settings = prepared.settings
    scheme = "https" if prepared.tls else "http"
    base_url = f"{scheme}://{shown_host(settings.host)}:{listener.getsockname()[1]}{settings.path_prefix}"
    await _greet(settings, store, clock, base_url)
    sweeper = asyncio.create_task(sweep_forever(store, settings.sweep_seconds))
    try:
        # What is here now lives as long as the server: the collector need not walk it again and again.
        gc.collect()
        gc.freeze()
        # Requests leave next to no cycles behind, and a large body is millions of objects: looking seldom is enough.
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        config = _server_config(prepared, store, clock)
        config.load()
        config.ssl = prepared.tls
        await _Server(config).serve(sockets=[listener])
    finally:
        sweeper.cancel()
        await asyncio.wait((sweeper,))


async def _close(store: Store) -> None:
    # Every request was answered or given up by now: what takes long here is a database that does not answer.
    try:
        async with asyncio.timeout(_CLOSING_SECONDS_MAX):
            await store.close()
    except TimeoutError:
        _logger.warning("The database did not let go of us in time.")


async def _open(settings: Settings, clock: Clock) -> Store:
    if settings.migrate:
        await migrate(settings.database, clock())
    elif missing := await pending_migrations(settings.database):
        raise StoreUnavailable(f"Migrations are pending: {', '.join(missing)}. Run: sessionary migrate")
    return await open_store(settings.database, clock, settings.store_seconds)


def _application(prepared: _Prepared, store: Store, clock: Clock) -> Application:
    settings, allowances = prepared.settings, prepared.allowances
    return Application(
        Service(
            store=store,
            clock=clock,
            session_ids=SessionIds(clock, secrets.randbits),
            expiry_horizon=settings.expiry_horizon_days * limits.MILLISECONDS_PER_DAY,
            rates=Rates(allowances, time.monotonic) if allowances.has_rates else None,
            quotas=Quotas(store, allowances, time.monotonic) if allowances.has_quotas else None,
        ),
        request_ids=request_ids(),
        on_answer=logs.AccessLog(settings.log_level, as_json=logs.wants_json(settings.log_format, sys.stderr)),
        path_prefix=settings.path_prefix,
        body_seconds_max=settings.body_seconds,
    )


def _server_config(prepared: _Prepared, store: Store, clock: Clock) -> uvicorn.Config:
    settings = prepared.settings
    # Of a TLS connection a second descriptor is kept, to ask afterwards what arrived.
    files_each = 2 if prepared.tls else 1
    connections = room_for(settings.connections * files_each) // files_each
    bounds = Bounds(settings.header_seconds, settings.body_seconds, connections)
    return uvicorn.Config(
        _application(prepared, store, clock),
        http=bounded_protocol(bounds),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=int(settings.idle_seconds) or 1,
        timeout_graceful_shutdown=int(settings.shutdown_seconds) or 1,
    )


class _Loop(uvloop.Loop):
    """Gives a TLS handshake no more time than headers have: uvicorn leaves it the default, a minute."""

    def __init__(self, handshake_seconds: float) -> None:
        super().__init__()
        self._handshake_seconds = handshake_seconds

    async def create_server(self, *arguments: Any, **named: Any) -> Any:
        if named.get("ssl") is not None:
            named["ssl_handshake_timeout"] = self._handshake_seconds
        return await super().create_server(*arguments, **named)


class _Server(uvicorn.Server):
    """Ends by itself after SIGTERM and SIGINT: uvicorn's own would then die of the signal, not exit with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        stop: Callable[[signal.Signals], None] = lambda number: self.handle_exit(number, None)  # noqa: E731
        for number in _STOPS:
            loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            for number in _STOPS:
                loop.remove_signal_handler(number)


async def _greet(settings: Settings, store: Store, clock: Clock, base_url: str, stream: TextIO = sys.stdout) -> None:
    place = shown_place(settings.database)
    print(f"sessionary listens on {base_url} and keeps its data in {place}", file=stream, flush=True)
    if not settings.first_token:
        return
    text = await create_first_token(TokenMaker(store, clock, secrets.token_bytes, "server"), FIRST_ORGANISATION)
    if text is not None:
        print(
            _WELCOME.format(base_url=base_url, token=text, organisation=FIRST_ORGANISATION),
            file=stream,
            flush=True,
        )


_WELCOME: Final = """
A first token for the organisation {organisation} (shown this once; make others with: sessionary tokens create):

  {token}

Try it:

  curl -X POST {base_url}/api/v3/organizations/{organisation}/ai/sessions \\
    -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\
    -d '{{"userId": "user-1", "initialMessages": [{{"role": "user", "content": "Hello"}}]}}'
"""
