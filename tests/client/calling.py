"""What the tests of the client share: the places to call, and the awaitable client in the blocking one's clothes."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Self, cast

from msgspec import Struct

from sessionary import AsyncClient, Client


class Place(Struct, frozen=True):
    """A server that a client may be given."""

    name: str
    url: str
    token: str


FLAVOURS: Final = ("blocking", "awaitable")


def make_client(flavour: str, url: str, **options: Any) -> Client:
    """Make a client of a flavour; both are called alike."""
    if flavour == "blocking":
        return Client(url, **options)
    return cast("Client", Awaited(lambda: AsyncClient(url, **options)))


class Awaited:
    """An AsyncClient whose every answer is waited for, on an event loop of its own."""

    def __init__(self, make: Callable[[], AsyncClient]) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._made(make))

    async def _made(self, make: Callable[[], AsyncClient]) -> AsyncClient:
        return make()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name.startswith("iterate_"):
            return lambda *args, **kwargs: _Waiting(self._runner, found(*args, **kwargs))
        waiting = partial(self._wait, found)
        if hasattr(found, "with_response"):
            waiting.with_response = partial(self._wait, found.with_response)  # type: ignore[attr-defined]
        return waiting

    def session(self, **kwargs: Any) -> Any:
        return _AwaitedConversation(self._runner, self._client.session(**kwargs))

    def _wait(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
        return self._runner.run(function(*args, **kwargs))


class _Waiting:
    def __init__(self, runner: asyncio.Runner, items: Any) -> None:
        self._runner = runner
        self._items = items

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return self._runner.run(_next(self._items))
        except StopAsyncIteration:
            raise StopIteration from None


async def _next(items: Any) -> Any:
    return await anext(items)


class _AwaitedConversation:
    def __init__(self, runner: asyncio.Runner, conversation: Any) -> None:
        self._runner = runner
        self._conversation = conversation

    def __enter__(self) -> Self:
        self._runner.run(self._conversation.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._conversation.__aexit__(None, None, None))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._conversation, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self._runner.run(found(*args, **kwargs))
