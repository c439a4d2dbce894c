"""Reading again, while the server runs, what an operator may change: certificates, limits and the log level."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import fields

from sessionary.errors import SessionaryError
from sessionary.server.config import Effective, Settings
from sessionary.server.limits_file import limits_from
from sessionary.server.listener import Tls, tls_context
from sessionary.server.logging import AccessLog, set_level
from sessionary.server.operations.context import Service
from sessionary.server.operations.limits import Limits
from sessionary.server.operations.quotas import Quotas
from sessionary.server.operations.rate_limiter import RateLimiter

Read = Callable[[], Effective]

_OBEYED: Final = frozenset(
    {
        *("tls_certificate", "tls_key", "log_level", "limits_file"),
        *("organisation_rate", "organisation_burst", "organisation_sessions", "organisation_stored_bytes"),
        *("token_rate", "token_burst"),
    }
)

_logger: Final = logging.getLogger("sessionary.server")


class Running(Struct):
    """What is running and can be given other values."""

    settings: Settings
    tls: Tls | None
    service: Service
    access_log: AccessLog


class Reloader:
    """Reads again when it is asked to, one time after the other; what is wrong changes nothing."""

    def __init__(self, read: Read, running: Running) -> None:
        """Read by ``read``, and give what was read to what is running."""
        self._read: Final = read
        self._running: Final = running
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Read again, soon: once for all that ask while it is being read."""
        self._asked = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while self._asked:
            self._asked = False
            try:
                # Files may lie on a disk that is slow today.
                found, context, limits = await asyncio.to_thread(self._read_files)
                self._apply(found.settings, context, limits)
            except (SessionaryError, OSError) as error:
                _logger.error("The settings were read again, and the old ones stay: %s", error)  # noqa: TRY400 - told
            except Exception:
                _logger.exception("The settings could not be read again, and the old ones stay.")
        self._task = None

    def _read_files(self) -> tuple[Effective, ssl.SSLContext | None, Limits]:
        found = self._read()
        return found, tls_context(found.settings), limits_from(found.settings)

    def _apply(self, settings: Settings, context: ssl.SSLContext | None, limits: Limits) -> None:
        # What is obeyed only after a restart is still as it was at the start.
        running, before = self._running, self._running.settings
        if running.tls is not None and context is not None:
            running.tls.replace(context)
        set_limits(running.service, limits)
        set_level(settings.log_level)
        running.access_log.set_level(settings.log_level)
        _logger.info("The settings were read again: certificates, limits and log level are those of the files.")
        late = [
            field.name
            for field in fields(Settings)
            if field.name not in _OBEYED and getattr(before, field.name) != getattr(settings, field.name)
        ]
        if (running.tls is None) != (context is None):
            late += ["tls_certificate", "tls_key"]
        if late:
            _logger.warning("These settings have changed and are obeyed after a restart: %s.", ", ".join(late))


def set_limits(service: Service, limits: Limits) -> None:
    """Let a service count by these limits, whether it has counted before or not."""
    if not limits.has_rates:
        service.rates = None
    elif service.rates is None:
        service.rates = RateLimiter(limits, time.monotonic)
    else:
        service.rates.set_limits(limits)
    if not limits.has_quotas:
        service.quotas = None
    elif service.quotas is None:
        service.quotas = Quotas(service.store, limits, time.monotonic)
    else:
        service.quotas.set_limits(limits)
