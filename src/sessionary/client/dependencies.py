"""What a client takes from its environment: clock, sleep, randomness, environment variables. Tests replace them."""

import importlib
import os
import random
import time
import uuid
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Generic, TypeVar

from msgspec import Struct, field

SleepResult = TypeVar("SleepResult")

InjectHeaders = Callable[[MutableMapping[str, Any]], Any]


def trace_context_injector() -> InjectHeaders:
    """Return OpenTelemetry's function that adds the W3C trace context to headers, or one that does nothing."""
    try:
        inject: InjectHeaders = importlib.import_module("opentelemetry.propagate").inject
    except ImportError:
        return lambda _: None
    return inject


class Dependencies(Struct, Generic[SleepResult], frozen=True, kw_only=True):
    """The functions and values that a client uses instead of global state."""

    sleep: Callable[[float], SleepResult]
    """Sleeps for a number of seconds, or returns an awaitable that does."""
    clock: Callable[[], float] = time.monotonic
    """Returns monotonic seconds."""
    random: Callable[[], float] = random.random
    """Returns a number from 0 to 1, for the length of pauses."""
    unique_id: Callable[[], str] = lambda: str(uuid.uuid4())
    """Returns a new unique id, for idempotency keys and request ids."""
    environment: Mapping[str, str] = os.environ
    """Environment variables: ``SESSIONARY_URL``, ``SESSIONARY_TOKEN``, ``SESSIONARY_ORGANISATION`` and the proxies'."""
    inject_headers: InjectHeaders = field(default_factory=trace_context_injector)
    """Adds headers to every call, such as a trace context."""
