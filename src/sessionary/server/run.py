"""Starting and stopping the server (graceful shutdown): its parts are started in order and stopped in reverse order."""

import asyncio
import gc
import logging
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any, Final

import uvloop
from msgspec import Struct

from sessionary import constants
from sessionary.errors import StoreUnavailableError, UnavailableError
from sessionary.server.clock import request_ids, steady_clock
from sessionary.server.config import EffectiveSettings, Settings
from sessionary.server.database_wait import open_when_up
from sessionary.server.http.application import Application
from sessionary.server.http.paths import normalise_prefix
from sessionary.server.limits_file import load_limits
from sessionary.server.listener import bind_socket, format_host, start_accepting
from sessionary.server.log_queue import LogQueue
from sessionary.server.logging import AccessLog, configure_logging, uses_json
from sessionary.server.operations.context import Service
from sessionary.server.operations.expiry import sweep_forever
from sessionary.server.operations.limits import Limits
from sessionary.server.operations.session_ids import SessionIdGenerator
from sessionary.server.operations.token_uses import flush_forever
from sessionary.server.reload import Reloader, ReloadTargets, apply_limits
from sessionary.server.sighup import SighupHandler
from sessionary.server.store.base import Clock, Store
from sessionary.server.store.opening import (
    check_free,
    check_url,
    migrate,
    open_store,
    pending_migrations,
    without_password,
)
from sessionary.server.tls import ReloadableTLSContext, load_tls_context
from sessionary.server.unavailable_log import UnavailableLog
from sessionary.server.uvicorn_server import STOP_SIGNALS, EventLoop, GracefulServer, make_config
from sessionary.server.welcome import print_welcome

_OBJECTS_BETWEEN_COLLECTIONS: Final = 20_000
_CLOSE_SECONDS_MAX: Final = 1.5
_LOG_FLUSH_SECONDS_MAX: Final = 1.0
"""How long stopping waits for a log that is blocked."""

_logger: Final = logging.getLogger("sessionary.server")


def serve(loaded: EffectiveSettings, read: Callable[[], EffectiveSettings], *, outlives_terminal: bool = False) -> None:
    """Run a server until it is stopped by a signal; ``read`` loads the settings again on SIGHUP.

    Raises InvalidRequestError for invalid settings, before anything is opened, and UnavailableError if it cannot start.
    """
    settings = loaded.settings
    check_url(settings.database)
    context = load_tls_context(settings)
    sighup_handler = SighupHandler(outlives_terminal=outlives_terminal)
    prepared = _Prepared(
        settings,
        ReloadableTLSContext(context) if context else None,
        load_limits(settings),
        read,
        sighup_handler,
        UnavailableLog(),
    )
    log = configure_logging(settings.log_format, settings.log_level)
    sighup_handler.install()
    try:
        for warning in loaded.warnings:
            _logger.warning("%s", warning)
        uvloop.run(_cancel_on_signals(_serve(prepared, log)), loop_factory=lambda: EventLoop(settings.header_seconds))
    except asyncio.CancelledError:
        # Stopped during startup: there are no requests to finish, and this is not an error.
        _log_stop(0)
    except UnavailableError as error:
        # For programs that read the log; the command line prints the error for people.
        if uses_json(settings.log_format, sys.stderr):
            _logger.error("The server did not start: %s", error.detail)  # noqa: TRY400 - the text is enough
        raise
    finally:
        sighup_handler.disable()
        log.close(_LOG_FLUSH_SECONDS_MAX)


async def _cancel_on_signals(serving: Coroutine[Any, Any, None]) -> None:
    """Cancel the startup on SIGTERM and SIGINT, until the running server handles them itself."""
    task = asyncio.create_task(serving)
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, _cancel_startup, task, number)
    await task


def _cancel_startup(task: asyncio.Task[None], number: signal.Signals) -> None:
    _logger.info("Received %s before accepting requests; stopping.", number.name)
    task.cancel()


class _Prepared(Struct, frozen=True):
    """What is loaded before anything is opened."""

    settings: Settings
    tls: ReloadableTLSContext | None
    limits: Limits
    read: Callable[[], EffectiveSettings]
    sighup_handler: SighupHandler
    unavailable_log: UnavailableLog


async def _serve(prepared: _Prepared, log: LogQueue) -> None:
    settings = prepared.settings
    clock = steady_clock()
    # The address first: if it is in use, nothing else must have been opened or changed.
    with bind_socket(settings) as listener:
        base_url = _base_url(prepared, listener)
        _log_start(settings, base_url)
        store = await open_when_up(lambda: _open_database(settings, clock), settings.wait_seconds)
        try:
            await _serve_requests(prepared, store, clock, (listener, base_url), log)
        finally:
            await _close_store(store)
            prepared.unavailable_log.flush()


def _base_url(prepared: _Prepared, listener: socket.socket) -> str:
    settings = prepared.settings
    scheme = "https" if prepared.tls else "http"
    return (
        f"{scheme}://{format_host(settings.host)}:{listener.getsockname()[1]}{normalise_prefix(settings.path_prefix)}"
    )


def _log_start(settings: Settings, base_url: str) -> None:
    # The query of a URL may contain anything, also a secret.
    database = without_password(settings.database).partition("?")[0]
    fields = {"version": version("sessionary"), "address": base_url, "database": database}
    _logger.info(
        "Starting sessionary %(version)s for %(address)s with the database %(database)s.",
        fields,
        extra={"fields": fields},
    )


def _log_stop(cut: int) -> None:
    _logger.info("Stopped; %d requests were aborted.", cut, extra={"fields": {"requests_cut": cut}})


async def _serve_requests(
    prepared: _Prepared, store: Store, clock: Clock, listening: tuple[socket.socket, str], log: LogQueue
) -> None:
    settings = prepared.settings
    listener, base_url = listening
    start_accepting(listener)
    _logger.info("Listening on %s.", base_url, extra={"fields": {"address": base_url}})
    # On a terminal the log and the welcome message are mixed: the queued lines are written first.
    await asyncio.to_thread(log.flush, _LOG_FLUSH_SECONDS_MAX)
    await print_welcome(settings, store, clock, base_url, sys.stdout)
    access_log = AccessLog(settings.log_level, as_json=uses_json(settings.log_format, sys.stderr), write=log.put)
    service = _service(prepared, store, clock)
    background_tasks = (
        asyncio.create_task(sweep_forever(store, settings.sweep_seconds)),
        asyncio.create_task(flush_forever(service.token_uses, store)),
    )
    reloader = Reloader(prepared.read, ReloadTargets(settings, prepared.tls, service, access_log))
    try:
        # The objects that exist now live as long as the server, so the garbage collector need not traverse them.
        gc.collect()
        gc.freeze()
        # Requests leave few cycles behind, and large bodies are millions of objects: collecting rarely is enough.
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        tls = prepared.tls.context if prepared.tls else None
        application = _application(prepared, service, access_log)
        server = GracefulServer(make_config(application, settings, tls, prepared.unavailable_log))
        prepared.sighup_handler.enable(reloader.request_reload)
        await server.serve(sockets=[listener])
        access_log.flush()
        _log_stop(len(server.server_state.tasks))
    finally:
        prepared.sighup_handler.disable()
        await reloader.close()
        for task in background_tasks:
            task.cancel()
        await asyncio.wait(background_tasks, timeout=_CLOSE_SECONDS_MAX)


async def _close_store(store: Store) -> None:
    # All requests are answered or aborted by now, so this only takes long if the database does not respond.
    try:
        async with asyncio.timeout(_CLOSE_SECONDS_MAX):
            await store.close()
    except TimeoutError:
        _logger.warning("The database connections could not be closed in time.")


async def _open_database(settings: Settings, clock: Clock) -> Store:
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
        session_ids=SessionIdGenerator(clock, secrets.randbits),
        expiry_horizon=prepared.settings.expiry_horizon_days * constants.MILLISECONDS_PER_DAY,
    )
    apply_limits(service, prepared.limits)
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
