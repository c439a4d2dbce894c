"""What operations return besides plain results: pages of a list, and responses together with their HTTP response."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from sessionary.client import request_specs
from sessionary.client.pagination import Item, Paginator
from sessionary.client.request_specs import RequestSpec
from sessionary.client.response_decoding import APIResponse
from sessionary.client.results import ListedSession
from sessionary.client.signatures import describe_raw_method

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


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


class AsyncRawMethod(Protocol[P, T_co]):
    """An operation that returns an APIResponse."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> APIResponse[T_co]:
        """Call the operation; raises SessionaryError."""


class AsyncClientWithRawResponse:
    """The operations of a client, each returning an APIResponse: the result with the HTTP response."""

    def __init__(self, send: AsyncSend) -> None:
        """Send the requests with ``send``."""
        self.create_session: Final = _raw_method(send, request_specs.create_session)
        self.list_sessions: Final = _raw_list_method(send, request_specs.list_sessions)
        self.get_session: Final = _raw_method(send, request_specs.get_session)
        self.update_session: Final = _raw_method(send, request_specs.update_session)
        self.extend_session: Final = _raw_method(send, request_specs.extend_session)
        self.delete_session: Final = _raw_method(send, request_specs.delete_session)


def _raw_method(send: AsyncSend, make_spec: Callable[P, RequestSpec[T]]) -> AsyncRawMethod[P, T]:
    async def method(*args: P.args, **kwargs: P.kwargs) -> APIResponse[T]:
        return await send(make_spec(*args, **kwargs))

    (result,) = make_spec.__annotations__["return"].__args__
    response_type: Any = APIResponse
    return describe_raw_method(method, make_spec, response_type[result])


def _raw_list_method(
    send: AsyncSend, make_spec: Callable[P, RequestSpec[list[ListedSession]]]
) -> AsyncRawMethod[P, AsyncPage[ListedSession]]:
    async def method(*args: P.args, **kwargs: P.kwargs) -> APIResponse[AsyncPage[ListedSession]]:
        spec = make_spec(*args, **kwargs)
        response = await send(spec)
        return APIResponse(response.http_response, AsyncPage(send, spec, response))

    return describe_raw_method(method, make_spec, APIResponse[AsyncPage[ListedSession]])
