"""Mock servers: functions from a request to a response, without a network."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx2

from sessionary import Client
from sessionary.client.dependencies import Dependencies
from tests.client.clients import make_client

Respond = Callable[[httpx2.Request], httpx2.Response]
URL = "http://server.test"


def always(status: int, content: bytes | str = b"", **headers: str) -> Respond:
    """Respond to every request in the same way; an underscore in a header's name stands for a hyphen."""
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx2.Response(status, content=content, headers=renamed)


def in_turn(responses: Iterable[httpx2.Response | Exception]) -> Respond:
    """Respond with each response in turn, or raise each exception."""
    left = iter(responses)

    def respond(_: httpx2.Request) -> httpx2.Response:
        following = next(left)
        if isinstance(following, Exception):
            raise following
        # A response is used up by the client that reads it.
        return httpx2.Response(following.status_code, content=following.content, headers=following.headers)

    return respond


def impatient(flavour: str) -> Dependencies[Any]:
    """Make dependencies whose random numbers always give the shortest pause: none."""
    return Dependencies(sleep=time.sleep if flavour == "blocking" else asyncio.sleep, random=lambda: 0.0)


class Time:
    """A clock that only moves while someone sleeps, and records each pause."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def sleep_awaited(self, seconds: float) -> None:
        self.sleep(seconds)


def client_of(flavour: str, respond: Respond, clock: Time | None = None, **options: Any) -> Client:
    """Make a client of a flavour whose server is a function, with a clock of its own and the longest pauses."""
    clock = clock or Time()
    dependencies: Dependencies[Any] = Dependencies(
        sleep=clock.sleep if flavour == "blocking" else clock.sleep_awaited,
        clock=clock.clock,
        random=lambda: 1.0,
        unique_id=lambda: "key",
        environment={},
    )
    given = {"token": "secret", "organisation": "acme", "_dependencies": dependencies, **options}
    return make_client(flavour, URL, transport=httpx2.MockTransport(respond), **given)
