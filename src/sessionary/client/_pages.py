# Generated from _async_pages.py by scripts/generate_sync_client.py: change that file instead.
"""Pages of a list: the items of one page, and a way to the others."""

from collections.abc import Iterator
from typing import Any, Final, Protocol, TypeVar

from sessionary.client.pagination import Item, Paginator
from sessionary.client.request_specs import RequestSpec
from sessionary.client.response_decoding import APIResponse

T = TypeVar("T")


class Send(Protocol):
    """Sends a request and returns the response."""

    def __call__(self, spec: RequestSpec[T], /) -> APIResponse[T]:
        """Send a request; raises SessionaryError."""


class Page(Paginator[Item]):
    """One page of a list. ``data`` holds its items; iterating with ``for`` reads the following pages too."""

    def __init__(
        self,
        send: Send,
        spec: RequestSpec[list[Item]],
        response: APIResponse[list[Item]],
        previous: "Page[Item] | None" = None,
    ) -> None:
        """Take the response to a request; ``previous`` is the page before it."""
        super().__init__(spec, response, previous)
        self._send: Final = send

    def next_page(self) -> "Page[Item]":
        """Read the next page; raises ClientUsageError if there is none, and SessionaryError."""
        spec = self._required_next_spec()
        return Page(self._send, spec, self._send(spec), self)

    def __iter__(self) -> Iterator[Item]:
        """Iterate over the items of this page and of all pages after it, each read when it is needed."""
        page = self
        while True:
            yield from page.data
            if not page.has_next_page():
                return
            page = page.next_page()

    def __reduce__(self) -> Any:
        raise TypeError("A page cannot be pickled or copied: use its data.")
