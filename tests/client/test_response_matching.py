"""The client refuses a response that belongs to another session or another request."""

from typing import Any, Final

import httpx2
import pytest

from sessionary import Client, MismatchedResponseError, ResponseValidationError
from sessionary.client import response_decoding
from tests.client.clients import make_client
from tests.client.faults import Exchange, FaultProxy
from tests.client.mock_servers import URL, Respond, client_of
from tests.client.vendor import TOKEN, VendorServer

UUID: Final = "0193A5C6-7D8E-7F90-A1B2-C3D4E5F60718"
OTHER: Final = "0193a5c6-7d8e-7f90-a1b2-c3d4e5f60719"
CALLS: Final[dict[str, tuple[str, Any]]] = {
    "get_session": ("id", lambda client, requested_id: client.get_session(requested_id)),
    "update_session": ("sessionId", lambda client, requested_id: client.update_session(requested_id, tokens_used=1)),
    "extend_session": ("sessionId", lambda client, requested_id: client.extend_session(requested_id)),
}


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(
    ("requested_id", "returned_id"),
    [(UUID, OTHER), ("a", "b"), ("a", "A"), ("session/1", "session/2"), ("a", UUID), (UUID, "a")],
)
def test_a_response_about_another_session_is_an_error(
    flavour: str, operation: str, requested_id: str, returned_id: str
) -> None:
    member, call = CALLS[operation]
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={member: returned_id}, headers={"Accept-Idempotency-Key": "?1"})

    with (
        client_of(flavour, respond) as client,
        pytest.raises(MismatchedResponseError, match="another request") as raised,
    ):
        call(client, requested_id)
    assert isinstance(raised.value, ResponseValidationError)
    assert (raised.value.status, raised.value.code) == (200, "WRONG_ANSWER")
    assert len(requests) == 1


OTHER_MEMBERS: Final = {"metadata": {}, "totalMessages": 0, "expiresAt": "2026-11-22T22:09:00.123Z"}
"""Members that a response of this API may have besides the id."""


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("returned_id", [UUID, UUID.lower(), "", None])
def test_a_response_about_the_requested_session_or_none_is_accepted(
    flavour: str, operation: str, returned_id: str | None
) -> None:
    member, call = CALLS[operation]
    with client_of(flavour, lambda _: httpx2.Response(200, json={member: returned_id, **OTHER_MEMBERS})) as client:
        call(client, UUID)


def _respond_with_id(request_id: str) -> Respond:
    return lambda request: httpx2.Response(
        200 if request.method != "POST" else 201,
        json=[] if request.method == "GET" else {},
        headers={"X-Request-Id": request_id},
    )


@pytest.mark.parametrize("call", ["list_sessions", "create_session", "delete_session"])
def test_a_response_to_another_request_of_this_client_is_an_error(flavour: str, call: str) -> None:
    arguments = () if call == "list_sessions" else ("s",)
    with (
        client_of(flavour, _respond_with_id(f"{response_decoding.REQUEST_ID_PREFIX}another")) as client,
        pytest.raises(MismatchedResponseError),
    ):
        getattr(client, call)(*arguments)


@pytest.mark.parametrize("request_id", ["", "0f8fad5b-d9cb-469f-a165-70867728950e", "req_123", "sessionar"])
def test_request_ids_made_by_a_server_or_proxy_are_ignored(flavour: str, request_id: str) -> None:
    with client_of(flavour, _respond_with_id(request_id)) as client:
        assert client.list_sessions().data == []


def test_each_request_has_an_id_of_its_own_unless_the_caller_names_it(flavour: str) -> None:
    ids: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        ids.append(request.headers["X-Request-Id"])
        return httpx2.Response(503)

    with make_client(
        flavour, URL, organisation="acme", max_retries=1, transport=httpx2.MockTransport(respond)
    ) as client:
        for headers in ({}, {}, {"x-request-id": "mine"}):
            with pytest.raises(Exception, match="503"):
                client.list_sessions(headers=headers)
    assert ids[-2:] == ["mine", "mine"]
    assert len(set(ids[:4])) == 4


def test_the_connection_of_a_mismatched_response_is_not_reused(flavour: str, vendor_with_keys: VendorServer) -> None:
    """The proxy's responses are off by one: each connection returns the response to the request before."""
    late: dict[int, bytes] = {}

    def out_of_step(exchange: Exchange) -> None:
        response = exchange.forward()
        content = response.head() + response.body
        connection = id(exchange)
        exchange.send(late.get(connection, content))
        late[connection] = content

    given: dict[str, Any] = {"token": TOKEN, "organisation": "acme", "max_retries": 0}
    with FaultProxy(vendor_with_keys.port) as proxy, make_client(flavour, proxy.base_url, **given) as client:
        ids = [client.create_session("someone").session_id for _ in range(2)]
        proxy.plan = [out_of_step] * 4
        assert client.get_session(ids[0]).id == ids[0]
        with pytest.raises(MismatchedResponseError):
            client.get_session(ids[1])
        assert client.get_session(ids[1]).id == ids[1]


def test_the_request_id_echoed_by_our_server_is_accepted(our_client: Client) -> None:
    response = our_client.with_raw_response.list_sessions()
    assert str(response.request_id).startswith(response_decoding.REQUEST_ID_PREFIX)
