# Generated from _async_raw_responses.py by scripts/generate_sync_client.py: change that file instead.
"""The operations of a client, each returning its result together with the HTTP response."""

from collections.abc import Callable
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from sessionary.client import request_specs
from sessionary.client._pages import Page, Send
from sessionary.client.request_specs import RequestSpec
from sessionary.client.response_decoding import APIResponse
from sessionary.client.results import ListedSession
from sessionary.client.signatures import describe_raw_method

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


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
