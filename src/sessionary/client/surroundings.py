"""The client's edge: the one place that reaches for the clock, chance and the environment, as defaults."""

import importlib
import os
import random
import time
import uuid
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Generic, TypeVar

from msgspec import Struct, field

Slept = TypeVar("Slept")

Inject = Callable[[MutableMapping[str, Any]], Any]


def trace_context() -> Inject:
    """Find what adds the W3C trace context to headers: OpenTelemetry's own where it is installed, else nothing."""
    try:
        inject: Inject = importlib.import_module("opentelemetry.propagate").inject
    except ImportError:
        return lambda _: None
    return inject


class Surroundings(Struct, Generic[Slept], frozen=True, kw_only=True):
    """What a client takes from the world around it; each may be replaced, and tests do."""

    sleep: Callable[[float], Slept]
    """Waits for so many seconds, or returns what to await for that."""
    clock: Callable[[], float] = time.monotonic
    """Seconds that never run backwards."""
    random: Callable[[], float] = random.random
    """A number from 0 to 1, for the length of pauses."""
    keys: Callable[[], str] = lambda: str(uuid.uuid4())
    """Makes an idempotency key that nobody else makes."""
    environment: Mapping[str, str] = os.environ
    """Where ``SESSIONARY_URL``, ``SESSIONARY_TOKEN``, ``SESSIONARY_ORGANISATION`` and a proxy may be named."""
    inject: Inject = field(default_factory=trace_context)
    """Adds headers to each call, such as a trace context."""
