# Generated from _async_responses.py by scripts/generate_sync_client.py: change that file instead.
"""What operations return besides plain results: pages of a list, and responses together with their HTTP response."""

from collections.abc import Callable, Iterator
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


class RawMethod(Protocol[P, T_co]):
    """An operation that returns an APIResponse."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> APIResponse[T_co]:
        """Call the operation; raises SessionaryError."""


class ClientWithRawResponse:
    """The operations of a client, each returning an APIResponse: the result with the HTTP response."""

    def __init__(self, send: Send) -> None:
        """Send the requests with ``send``."""
        self.create_session: Final = _raw_method(send, request_specs.create_session)
        self.list_sessions: Final = _raw_list_method(send, request_specs.list_sessions)
        self.get_session: Final = _raw_method(send, request_specs.get_session)
        self.update_session: Final = _raw_method(send, request_specs.update_session)
        self.extend_session: Final = _raw_method(send, request_specs.extend_session)
        self.delete_session: Final = _raw_method(send, request_specs.delete_session)


def _raw_method(send: Send, make_spec: Callable[P, RequestSpec[T]]) -> RawMethod[P, T]:
    def method(*args: P.args, **kwargs: P.kwargs) -> APIResponse[T]:
        return send(make_spec(*args, **kwargs))

    (result,) = make_spec.__annotations__["return"].__args__
    response_type: Any = APIResponse
    return describe_raw_method(method, make_spec, response_type[result])


def _raw_list_method(
    send: Send, make_spec: Callable[P, RequestSpec[list[ListedSession]]]
) -> RawMethod[P, Page[ListedSession]]:
    def method(*args: P.args, **kwargs: P.kwargs) -> APIResponse[Page[ListedSession]]:
        spec = make_spec(*args, **kwargs)
        response = send(spec)
        return APIResponse(response.http_response, Page(send, spec, response))

    return describe_raw_method(method, make_spec, APIResponse[Page[ListedSession]])
