"""Servers that are one function: what a test wants answered, without a network."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx2

from sessionary import Client
from sessionary.client.dependencies import Dependencies
from tests.client.calling import make_client

Respond = Callable[[httpx2.Request], httpx2.Response]
URL = "http://server.test"


def always(status: int, content: bytes | str = b"", **headers: str) -> Respond:
    """Answer every request alike; an underscore in a header's name stands for a hyphen."""
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx2.Response(status, content=content, headers=spelled)


def in_turn(responses: Iterable[httpx2.Response | Exception]) -> Respond:
    """Answer with each response in turn, or break with each exception."""
    left = iter(responses)

    def respond(_: httpx2.Request) -> httpx2.Response:
        following = next(left)
        if isinstance(following, Exception):
            raise following
        # A response is used up by the client that reads it.
        return httpx2.Response(following.status_code, content=following.content, headers=following.headers)

    return respond


def impatient(flavour: str) -> Dependencies[Any]:
    """Make dependencies in which chance always picks the shortest pause: none."""
    return Dependencies(sleep=time.sleep if flavour == "blocking" else asyncio.sleep, random=lambda: 0.0)


class Time:
    """A clock that only passes while someone sleeps, and remembers how long each did."""

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


def client_of(flavour: str, respond: Respond, told: Time | None = None, **options: Any) -> Client:
    """Make a client of a flavour whose server is a function, in a time of its own, where chance picks the longest."""
    told = told or Time()
    dependencies: Dependencies[Any] = Dependencies(
        sleep=told.sleep if flavour == "blocking" else told.sleep_awaited,
        clock=told.clock,
        random=lambda: 1.0,
        unique_id=lambda: "key",
        environment={},
    )
    given = {"token": "secret", "organisation": "acme", "_dependencies": dependencies, **options}
    return make_client(flavour, URL, transport=httpx2.MockTransport(respond), **given)
