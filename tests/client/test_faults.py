"""Injected faults: reads and deletions succeed or raise the right error, in time, and no write has two effects."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

import pytest

from sessionary import (
    APIConnectionError,
    APITimeoutError,
    Client,
    NotFoundError,
    OverloadedError,
    RateLimitError,
    ResponseValidationError,
    SessionaryError,
    UnavailableError,
)
from tests.client import faults
from tests.client.clients import Endpoint, make_client
from tests.client.faults import Fault, FaultProxy
from tests.client.mock_servers import impatient
from tests.client.vendor import TOKEN, VendorServer
from tests.harness.server import ServerProcess

# Each fault, and the error that is raised if retries do not help; None if the call succeeds.
FAULTS: Final[dict[Fault, type[SessionaryError] | None]] = {
    faults.dropped_before: APIConnectionError,
    faults.dropped_after: APIConnectionError,
    faults.truncated: APIConnectionError,
    faults.cut_short: ResponseValidationError,
    faults.delayed(0.2): None,
    faults.overloaded(): OverloadedError,
    faults.refused(429, ("Retry-After", "0")): RateLimitError,
    faults.refused(502, ("Content-Type", "text/html"), body=b"<html>Bad gateway</html>"): UnavailableError,
    faults.refused(504): UnavailableError,
}
NAMES: Final = ["drop_before", "drop_after", "truncate", "cut", "delay", "overload", "limit", "gateway", "gateway_late"]
WRITES: Final[list[Callable[[Client, str], Any]]] = [
    lambda client, _: client.create_session("someone"),
    lambda client, session_id: client.update_session(session_id, new_messages=[{"role": "user", "content": "x"}]),
    lambda client, session_id: client.extend_session(session_id),
]


@pytest.fixture
def through(flavour: str, faulty: FaultProxy, organisation: str) -> Iterator[Client]:
    """Each client, behind the proxy, before a server that honours keys."""
    options = {"token": TOKEN, "organisation": organisation, "timeout": 10, "_dependencies": impatient(flavour)}
    with make_client(flavour, faulty.base_url, **options) as client:
        yield client


@pytest.fixture
def past_a_vendor(flavour: str, vendor: VendorServer, organisation: str) -> Iterator[tuple[Client, FaultProxy]]:
    """Each client, behind a proxy, before a server that knows no keys."""
    options = {"token": TOKEN, "organisation": organisation, "timeout": 10, "_dependencies": impatient(flavour)}
    with FaultProxy(vendor.port) as proxy, make_client(flavour, proxy.base_url, **options) as client:
        yield client, proxy


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
@pytest.mark.parametrize("times", [1, 2])
def test_a_read_succeeds_or_raises_the_right_error(
    through: Client, faulty: FaultProxy, fault: Fault, times: int
) -> None:
    created = through.create_session("someone", initial_messages=[{"role": "user", "content": "x" * 5_000}])
    faulty.plan = [fault] * times
    assert len(through.get_session(created.session_id).messages[0]["content"]) == 5_000
    faulty.plan = [fault] * times
    assert [item.id for item in through.list_sessions().data] == [created.session_id]


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_a_deletion_succeeds_or_raises_the_right_error(
    through: Client, faulty: FaultProxy, vendor_with_keys: VendorServer, fault: Fault
) -> None:
    created = through.create_session("someone")
    faulty.plan = [fault]
    assert through.delete_session(created.session_id).message
    assert vendor_with_keys.sessions == {}
    with pytest.raises(NotFoundError):
        through.delete_session(created.session_id)


@pytest.mark.parametrize(("fault", "error"), [(fault, error) for fault, error in FAULTS.items() if error])
def test_a_read_that_keeps_failing_ends_with_the_right_error(
    through: Client, faulty: FaultProxy, fault: Fault, error: type[SessionaryError]
) -> None:
    faulty.plan = [fault] * 4
    with pytest.raises(error):
        through.list_sessions()
    assert faulty.plan == []


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(("fault", "error"), FAULTS.items(), ids=NAMES)
def test_a_write_towards_a_vendor_is_sent_exactly_once(
    past_a_vendor: tuple[Client, FaultProxy],
    vendor: VendorServer,
    fault: Fault,
    error: type[SessionaryError] | None,
    write: Callable[[Client, str], Any],
) -> None:
    client, proxy = past_a_vendor
    session_id = client.create_session("someone").session_id
    before, arrived = len(vendor.writes()), len(proxy.arrived)
    proxy.plan = [fault]
    with pytest.raises(error) if error else contextlib.nullcontext():
        write(client, session_id)
    assert len(proxy.arrived) - arrived == 1
    assert len(vendor.writes()) - before <= 1


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_a_write_towards_a_server_that_honours_keys_happens_exactly_once(
    through: Client,
    faulty: FaultProxy,
    vendor_with_keys: VendorServer,
    fault: Fault,
    write: Callable[[Client, str], Any],
) -> None:
    session_id = through.create_session("someone").session_id
    done = len(vendor_with_keys.responses_by_key)
    faulty.plan = [fault, fault]
    write(through, session_id)
    assert len(vendor_with_keys.responses_by_key) == done + 1


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_our_server_carries_out_each_write_exactly_once(
    flavour: str, server: ServerProcess, our_endpoint: Endpoint, organisation: str, fault: Fault
) -> None:
    options = {"token": our_endpoint.token, "organisation": organisation, "_dependencies": impatient(flavour)}
    with FaultProxy(server.port) as proxy, make_client(flavour, proxy.base_url, **options) as client:
        first = client.create_session("someone")
        for write in WRITES:
            proxy.plan = [fault, fault]
            write(client, first.session_id)
        assert len(client.list_sessions().data) == 2
        session = client.get_session(first.session_id)
        assert session.total_messages == 1
        assert session.expires_at
        assert first.expires_at
        assert session.expires_at - first.expires_at == timedelta(hours=1)
        proxy.plan = [fault]
        assert client.delete_session(first.session_id).message
        assert len(client.list_sessions().data) == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.delayed(30),
        faults.trickling(0.1, head=True),
        faults.trickling(0.1, head=False),
    ],
    ids=["silent", "trickling head", "trickling body"],
)
def test_no_call_lasts_longer_than_its_timeout(through: Client, faulty: FaultProxy, fault: Fault) -> None:
    created = through.create_session("someone", initial_messages=[{"role": "user", "content": "x" * 500}])
    calls: list[Callable[[], Any]] = [
        lambda: through.get_session(created.session_id, timeout=0.6),
        lambda: through.delete_session(created.session_id, timeout=0.6),
        lambda: through.update_session(created.session_id, tokens_used=1, timeout=0.6),
    ]
    for call in calls:
        faulty.plan = [fault] * 4
        started = time.monotonic()
        with pytest.raises(APITimeoutError):
            call()
        assert 0.5 < time.monotonic() - started < 1.5
    faulty.plan = []
    through.list_sessions(timeout=5)


def test_the_deadline_spans_the_retries(through: Client, faulty: FaultProxy) -> None:
    faulty.plan = [faults.dropped_before, faults.delayed(30)]
    started = time.monotonic()
    with pytest.raises(APITimeoutError):
        through.list_sessions(timeout=1)
    assert time.monotonic() - started < 2
    assert len(faulty.arrived) == 2


def test_a_server_that_is_down_is_distinguished(flavour: str, faulty: FaultProxy) -> None:
    faulty.__exit__()
    with (
        make_client(flavour, faulty.base_url, token=TOKEN, organisation="acme") as client,
        pytest.raises(APIConnectionError, match="could not be reached") as raised,
    ):
        client.create_session("someone")
    assert not raised.value.sent
