"""Config → store → app → server: start in this order, stop in the other."""

import asyncio
import contextlib
import gc
import logging
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from importlib.metadata import version
from typing import Any, Final, TextIO

import uvicorn
import uvloop
from msgspec import Struct

from sessionary import constants
from sessionary.errors import StoreUnavailableError, UnavailableError
from sessionary.server.clock import request_ids, steady_clock
from sessionary.server.config import Effective, Settings
from sessionary.server.database_wait import open_when_up
from sessionary.server.http.application import Application
from sessionary.server.http.paths import normalise_prefix
from sessionary.server.limits_file import limits_from
from sessionary.server.listener import Tls, accept_on, bind, room_for, shown_host, tls_context
from sessionary.server.log_queue import LogQueue
from sessionary.server.logging import AccessLog, configure, wants_json
from sessionary.server.operations.context import Service
from sessionary.server.operations.expiry import sweep_forever
from sessionary.server.operations.limits import Limits
from sessionary.server.operations.session_ids import SessionIds
from sessionary.server.operations.token_uses import keep_forever
from sessionary.server.operations.tokens import TokenMaker, create_first_token
from sessionary.server.protocol import bounded_protocol
from sessionary.server.reload import Reloader, Running, set_limits
from sessionary.server.request_cycle import Bounds
from sessionary.server.sighup import Hangups
from sessionary.server.store.base import Clock, Store
from sessionary.server.store.opening import (
    check_free,
    check_url,
    database_location,
    migrate,
    open_store,
    pending_migrations,
    without_password,
)
from sessionary.server.unavailable_log import UnavailableLog

FIRST_ORGANISATION: Final = "demo"
_OBJECTS_BETWEEN_COLLECTIONS: Final = 20_000
_CLOSING_SECONDS_MAX: Final = 1.5
_LOG_SECONDS_MAX: Final = 1.0
"""How long the end waits for a log that nobody reads."""
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)

_logger: Final = logging.getLogger("sessionary.server")


def serve(found: Effective, read: Callable[[], Effective], *, outlives_terminal: bool = False) -> None:
    """Run a server until it is told to stop; ``read`` reads the settings again on SIGHUP.

    Raises InvalidRequestError for settings that make no sense, before anything is touched, and Unavailable if it cannot
    start.
    """
    settings = found.settings
    check_url(settings.database)
    context = tls_context(settings)
    hangups = Hangups(outlives_terminal=outlives_terminal)
    prepared = _Prepared(
        settings, Tls(context) if context else None, limits_from(settings), read, hangups, UnavailableLog()
    )
    log = configure(settings.log_format, settings.log_level)
    hangups.take()
    try:
        for warning in found.warnings:
            _logger.warning("%s", warning)
        uvloop.run(_stoppable(_serve(prepared, log)), loop_factory=lambda: _Loop(settings.header_seconds))
    except asyncio.CancelledError:
        # Told to stop while it still started: there is nothing to finish, and nothing went wrong.
        _log_end(0)
    except UnavailableError as error:
        # What reads a log by machine shall find it there; a person is told once.
        if wants_json(settings.log_format, sys.stderr):
            _logger.error("The server did not start: %s", error.detail)  # noqa: TRY400 - for an operator
        raise
    finally:
        hangups.ignore()
        log.close(_LOG_SECONDS_MAX)


async def _stoppable(serving: Coroutine[Any, Any, None]) -> None:
    """Give up on SIGTERM and SIGINT, until the server itself listens to them."""
    task = asyncio.create_task(serving)
    for number in _STOPS:
        asyncio.get_running_loop().add_signal_handler(number, _give_up, task, number)
    await task


def _give_up(task: asyncio.Task[None], number: signal.Signals) -> None:
    _logger.info("Told to stop by %s before it accepted requests.", number.name)
    task.cancel()


class _Prepared(Struct, frozen=True):
    """What is read before anything is touched."""

    settings: Settings
    tls: Tls | None
    limits: Limits
    read: Callable[[], Effective]
    hangups: Hangups
    unavailable_log: UnavailableLog


async def _serve(prepared: _Prepared, log: LogQueue) -> None:
    settings = prepared.settings
    clock = steady_clock()
    # First the address: where it is taken nothing else shall have been touched.
    with bind(settings) as listener:
        base_url = _base_url(prepared, listener)
        _log_start(settings, base_url)
        store = await open_when_up(lambda: _open(settings, clock), settings.wait_seconds)
        try:
            await _answer(prepared, store, clock, (listener, base_url), log)
        finally:
            await _close(store)
            prepared.unavailable_log.flush()


def _base_url(prepared: _Prepared, listener: socket.socket) -> str:
    settings = prepared.settings
    scheme = "https" if prepared.tls else "http"
    return f"{scheme}://{shown_host(settings.host)}:{listener.getsockname()[1]}{normalise_prefix(settings.path_prefix)}"


def _log_start(settings: Settings, base_url: str) -> None:
    # The query of a URL may hold anything, also what was meant for another place.
    database = without_password(settings.database).partition("?")[0]
    told = {"version": version("sessionary"), "address": base_url, "database": database}
    _logger.info(
        "Starting sessionary %(version)s for %(address)s with the database %(database)s.", told, extra={"fields": told}
    )


def _log_end(cut: int) -> None:
    _logger.info("Stopped; %d requests were cut.", cut, extra={"fields": {"requests_cut": cut}})


async def _answer(
    prepared: _Prepared, store: Store, clock: Clock, place: tuple[socket.socket, str], log: LogQueue
) -> None:
    settings = prepared.settings
    listener, base_url = place
    accept_on(listener)
    _logger.info("Listening on %s.", base_url, extra={"fields": {"address": base_url}})
    # On a terminal the log's thread writes to the place of the greeting: what it holds comes first, in whole lines.
    await asyncio.to_thread(log.flush, _LOG_SECONDS_MAX)
    await _greet(settings, store, clock, base_url, sys.stdout)
    access_log = AccessLog(settings.log_level, as_json=wants_json(settings.log_format, sys.stderr), write=log.put)
    service = _service(prepared, store, clock)
    housekeeping = (
        asyncio.create_task(sweep_forever(store, settings.sweep_seconds)),
        asyncio.create_task(keep_forever(service.token_uses, store)),
    )
    reloader = Reloader(prepared.read, Running(settings, prepared.tls, service, access_log))
    try:
        # What is here now lives as long as the server: the collector need not walk it again and again.
        gc.collect()
        gc.freeze()
        # Requests leave next to no cycles behind, and a large body is millions of objects: looking seldom is enough.
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        config = _server_config(prepared, _application(prepared, service, access_log))
        config.load()
        config.ssl = prepared.tls.context if prepared.tls else None
        server = _Server(config)
        prepared.hangups.obey(reloader.ask)
        await server.serve(sockets=[listener])
        access_log.flush()
        _log_end(len(server.server_state.tasks))
    finally:
        prepared.hangups.ignore()
        await reloader.close()
        for task in housekeeping:
            task.cancel()
        await asyncio.wait(housekeeping, timeout=_CLOSING_SECONDS_MAX)


async def _close(store: Store) -> None:
    # Every request was answered or given up by now: what takes long here is a database that does not answer.
    try:
        async with asyncio.timeout(_CLOSING_SECONDS_MAX):
            await store.close()
    except TimeoutError:
        _logger.warning("The database did not let go of us in time.")


async def _open(settings: Settings, clock: Clock) -> Store:
    await check_free(settings.database)
    applied: list[str] = []
    if settings.migrate:
        applied = await migrate(settings.database, clock())
    elif missing := await pending_migrations(settings.database):
        raise StoreUnavailableError(f"Migrations are pending: {', '.join(missing)}. Run: sessionary migrate")
    store = await open_store(settings.database, clock, settings.store_seconds)
    _logger.info(
        "The database is open; migrations applied: %s.",
        ", ".join(applied) or "none",
        extra={"fields": {"migrations": applied}},
    )
    return store


def _service(prepared: _Prepared, store: Store, clock: Clock) -> Service:
    service = Service(
        store=store,
        clock=clock,
        session_ids=SessionIds(clock, secrets.randbits),
        expiry_horizon=prepared.settings.expiry_horizon_days * constants.MILLISECONDS_PER_DAY,
    )
    set_limits(service, prepared.limits)
    return service


def _application(prepared: _Prepared, service: Service, access_log: AccessLog) -> Application:
    settings = prepared.settings
    return Application(
        service,
        request_ids=request_ids(),
        on_response=access_log,
        on_unavailable=prepared.unavailable_log,
        path_prefix=settings.path_prefix,
        body_seconds_max=settings.body_seconds,
        behind_proxy=settings.behind_proxy,
    )


def _server_config(prepared: _Prepared, application: Application) -> uvicorn.Config:
    settings = prepared.settings
    # Of a TLS connection a second descriptor is kept, to ask afterwards what arrived.
    files_each = 2 if prepared.tls else 1
    connections = room_for(settings.connections * files_each) // files_each
    bounds = Bounds(
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
        idle_seconds=settings.idle_seconds,
        connections=connections,
    )
    return uvicorn.Config(
        application,
        http=bounded_protocol(bounds, prepared.unavailable_log),
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

    def stop(self, number: signal.Signals) -> None:
        """Accept nothing more and end once what was accepted is answered; told twice by Ctrl-C, end at once."""
        running = len(self.server_state.tasks)
        if not self.should_exit:
            _logger.info(
                "Told to stop by %s; %d requests are being answered.",
                number.name,
                running,
                extra={"fields": {"signal": number.name, "requests": running}},
            )
        self.handle_exit(number, None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _STOPS:
            loop.add_signal_handler(number, self.stop, number)
        try:
            yield
        finally:
            for number in _STOPS:
                loop.remove_signal_handler(number)


async def _greet(settings: Settings, store: Store, clock: Clock, base_url: str, stream: TextIO) -> None:
    # What is printed elsewhere than on a terminal is kept by somebody: no secret belongs there.
    if not stream.isatty():
        if not await store.list_tokens(1):
            _logger.info("There is no token yet. Make one with: sessionary tokens create --organisation NAME")
        return
    place = database_location(settings.database)
    _print(f"sessionary listens on {base_url} and keeps its data in {place}\n", stream)
    if not settings.first_token:
        return
    text = await create_first_token(TokenMaker(store, clock, secrets.token_bytes, "server"), FIRST_ORGANISATION)
    if text is not None:
        _print(_WELCOME.format(base_url=base_url, token=text, organisation=FIRST_ORGANISATION), stream)


def _print(text: str, stream: TextIO) -> None:
    # Text and line end in one piece: nothing can come between them.
    stream.write(text)
    stream.flush()


_WELCOME: Final = """
A first token for the organisation {organisation} (shown this once; make others with: sessionary tokens create):

  {token}

Try it:

  curl -X POST {base_url}/api/v3/organizations/{organisation}/ai/sessions \\
    -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\
    -d '{{"userId": "user-1", "initialMessages": [{{"role": "user", "content": "Hello"}}]}}'
"""
