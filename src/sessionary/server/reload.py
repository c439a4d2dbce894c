"""Reloading, while the server runs, what an operator may change: certificates, limits and the log level."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import fields

from sessionary.errors import SessionaryError
from sessionary.server.config import EffectiveSettings, Settings
from sessionary.server.limits_file import load_limits
from sessionary.server.logging import AccessLog, set_level
from sessionary.server.operations.context import Service
from sessionary.server.operations.limits import Limits
from sessionary.server.operations.quotas import QuotaEnforcer
from sessionary.server.operations.rate_limiter import RateLimiter
from sessionary.server.tls import ReloadableTLSContext, load_tls_context

ReadSettings = Callable[[], EffectiveSettings]

_RELOADABLE: Final = frozenset(
    {
        *("tls_certificate", "tls_key", "log_level", "limits_file"),
        *("organisation_rate", "organisation_burst", "organisation_sessions", "organisation_stored_bytes"),
        *("token_rate", "token_burst"),
    }
)

_logger: Final = logging.getLogger("sessionary.server")


class ReloadTargets(Struct):
    """The parts of a running server that a reload changes, and the settings that it was started with."""

    settings: Settings
    tls: ReloadableTLSContext | None
    service: Service
    access_log: AccessLog


class Reloader:
    """Reloads the settings on request, one reload at a time; if anything is invalid, nothing changes."""

    def __init__(self, read: ReadSettings, targets: ReloadTargets) -> None:
        """Read the settings with ``read``, and apply them to ``targets``."""
        self._read: Final = read
        self._targets: Final = targets
        self._is_requested = False
        self._task: asyncio.Task[None] | None = None

    def request_reload(self) -> None:
        """Start a reload; requests that arrive during a reload lead to one more."""
        self._is_requested = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Cancel a running reload."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while self._is_requested:
            self._is_requested = False
            try:
                # In a thread, because the files may be on a slow disk.
                loaded, context, limits = await asyncio.to_thread(self._read_files)
                self._apply(loaded.settings, context, limits)
            except (SessionaryError, OSError) as error:
                _logger.error("The settings were not reloaded, the old ones stay in force: %s", error)  # noqa: TRY400 - the text is enough
            except Exception:
                _logger.exception("The settings were not reloaded because of an internal error.")
        self._task = None

    def _read_files(self) -> tuple[EffectiveSettings, ssl.SSLContext | None, Limits]:
        loaded = self._read()
        return loaded, load_tls_context(loaded.settings), load_limits(loaded.settings)

    def _apply(self, settings: Settings, context: ssl.SSLContext | None, limits: Limits) -> None:
        targets, before = self._targets, self._targets.settings
        if targets.tls is not None and context is not None:
            targets.tls.replace(context)
        apply_limits(targets.service, limits)
        set_level(settings.log_level)
        targets.access_log.set_level(settings.log_level)
        _logger.info("The settings were reloaded: certificates, limits and log level.")
        # Compared with the settings at the start, because these are still in force.
        needs_restart = [
            field.name
            for field in fields(Settings)
            if field.name not in _RELOADABLE and getattr(before, field.name) != getattr(settings, field.name)
        ]
        if (targets.tls is None) != (context is None):
            needs_restart += ["tls_certificate", "tls_key"]
        if needs_restart:
            _logger.warning(
                "These settings have changed and take effect after a restart: %s.", ", ".join(needs_restart)
            )


def apply_limits(service: Service, limits: Limits) -> None:
    """Create, update or remove the rate limiter and the quota enforcer of a service."""
    if not limits.has_rate_limits:
        service.rate_limiter = None
    elif service.rate_limiter is None:
        service.rate_limiter = RateLimiter(limits, time.monotonic)
    else:
        service.rate_limiter.set_limits(limits)
    if not limits.has_quotas:
        service.quota_enforcer = None
    elif service.quota_enforcer is None:
        service.quota_enforcer = QuotaEnforcer(service.store, limits, time.monotonic)
    else:
        service.quota_enforcer.set_limits(limits)
