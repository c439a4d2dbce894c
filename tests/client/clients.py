"""Shared by the tests of the client: endpoints, and an adapter that calls the asynchronous client synchronously."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Self, cast

from msgspec import Struct

from sessionary import AsyncClient, AsyncPage, Client


class Endpoint(Struct, frozen=True):
    """A server and a token for it."""

    name: str
    url: str
    token: str


FLAVOURS: Final = ("blocking", "awaitable")


def make_client(flavour: str, url: str, **options: Any) -> Client:
    """Make a client of a flavour; both are called in the same way."""
    if flavour == "blocking":
        return Client(url, **options)
    return cast("Client", SyncAdapter(lambda: AsyncClient(url, **options)))


class SyncAdapter:
    """Calls an AsyncClient synchronously, on an event loop of its own."""

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
            return lambda *args, **kwargs: _SyncIterator(self._runner, found(*args, **kwargs))
        return partial(self._wait, found)

    @property
    def with_raw_response(self) -> Any:
        return _SyncMethods(self._runner, self._client.with_raw_response)

    def with_options(self, **options: Any) -> "SyncAdapter":
        other = object.__new__(SyncAdapter)
        other._runner, other._client = self._runner, self._client.with_options(**options)
        return other

    def session(self, **kwargs: Any) -> Any:
        return _SyncConversation(self._runner, self._client.session(**kwargs))

    def _wait(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
        result = self._runner.run(function(*args, **kwargs))
        return _SyncPage(self._runner, result) if isinstance(result, AsyncPage) else result


class _SyncMethods:
    def __init__(self, runner: asyncio.Runner, methods: Any) -> None:
        self._runner = runner
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._methods, name)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))


class _SyncPage:
    """Reads an AsyncPage synchronously."""

    def __init__(self, runner: asyncio.Runner, page: AsyncPage[Any]) -> None:
        self._runner = runner
        self._page = page
        self.data = page.data
        self.has_next_page = page.has_next_page

    def next_page(self) -> Any:
        return _SyncPage(self._runner, self._runner.run(self._page.next_page()))

    def __iter__(self) -> Any:
        return _SyncIterator(self._runner, aiter(self._page))


class _SyncIterator:
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


class _SyncConversation:
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
