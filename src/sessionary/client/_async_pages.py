"""Pages of a list: the items of one page, and a way to the others."""

from collections.abc import AsyncIterator
from typing import Any, Final, Protocol, TypeVar

from sessionary.client.pagination import Item, Paginator
from sessionary.client.request_specs import RequestSpec
from sessionary.client.response_decoding import APIResponse

T = TypeVar("T")


class AsyncSend(Protocol):
    """Sends a request and returns the response."""

    async def __call__(self, spec: RequestSpec[T], /) -> APIResponse[T]:
        """Send a request; raises SessionaryError."""


class AsyncPage(Paginator[Item]):
    """One page of a list. ``data`` holds its items; iterating with ``async for`` reads the following pages too."""

    def __init__(
        self,
        send: AsyncSend,
        spec: RequestSpec[list[Item]],
        response: APIResponse[list[Item]],
        previous: "AsyncPage[Item] | None" = None,
    ) -> None:
        """Take the response to a request; ``previous`` is the page before it."""
        super().__init__(spec, response, previous)
        self._send: Final = send

    async def next_page(self) -> "AsyncPage[Item]":
        """Read the next page; raises ClientUsageError if there is none, and SessionaryError."""
        spec = self._required_next_spec()
        return AsyncPage(self._send, spec, await self._send(spec), self)

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Iterate over the items of this page and of all pages after it, each read when it is needed."""
        page = self
        while True:
            for item in page.data:
                yield item
            if not page.has_next_page():
                return
            page = await page.next_page()

    def __reduce__(self) -> Any:
        raise TypeError("A page cannot be pickled or copied: use its data.")
