"""Reading again, while the server runs, what an operator may change: certificates, limits and the log level."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import fields

from sessionary import logs
from sessionary.allowances import allowances_of
from sessionary.config import Effective, Settings
from sessionary.errors import SessionaryError
from sessionary.listening import Tls, tls_context
from sessionary.operations.allowances import Allowances
from sessionary.operations.context import Service
from sessionary.operations.quotas import Quotas
from sessionary.operations.rates import Rates

Read = Callable[[], Effective]

_OBEYED: Final = frozenset(
    {
        *("tls_certificate", "tls_key", "log_level", "limits_file"),
        *("organisation_rate", "organisation_burst", "organisation_sessions", "organisation_stored_bytes"),
        *("token_rate", "token_burst"),
    }
)

_logger: Final = logging.getLogger("sessionary.serve")


class Running(Struct):
    """What is running and can be given other values."""

    settings: Settings
    tls: Tls | None
    service: Service
    access_log: logs.AccessLog


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
                found, context, allowances = await asyncio.to_thread(self._read_files)
                self._apply(found.settings, context, allowances)
            except (SessionaryError, OSError) as error:
                _logger.error("The settings were read again, and the old ones stay: %s", error)  # noqa: TRY400 - told
            except Exception:
                _logger.exception("The settings could not be read again, and the old ones stay.")
        self._task = None

    def _read_files(self) -> tuple[Effective, ssl.SSLContext | None, Allowances]:
        found = self._read()
        return found, tls_context(found.settings), allowances_of(found.settings)

    def _apply(self, settings: Settings, context: ssl.SSLContext | None, allowances: Allowances) -> None:
        # What is obeyed only after a restart is still as it was at the start.
        running, before = self._running, self._running.settings
        if running.tls is not None and context is not None:
            running.tls.replace(context)
        set_limits(running.service, allowances)
        logs.set_level(settings.log_level)
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


def set_limits(service: Service, allowances: Allowances) -> None:
    """Let a service count by these limits, whether it has counted before or not."""
    if not allowances.has_rates:
        service.rates = None
    elif service.rates is None:
        service.rates = Rates(allowances, time.monotonic)
    else:
        service.rates.set_limits(allowances)
    if not allowances.has_quotas:
        service.quotas = None
    elif service.quotas is None:
        service.quotas = Quotas(service.store, allowances, time.monotonic)
    else:
        service.quotas.set_limits(allowances)
