"""Every form in which an official client sends a request (contract, section 6), replayed byte for byte."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from msgspec import Struct

from tests.http.callers import Caller, as_json, parse_timestamp, unknown_id


class Vendor(Struct, frozen=True, kw_only=True):
    """How one official client formats its requests."""

    name: str
    create: bytes
    extend: bytes
    list_query: str = ""
    accept: str = "application/json"
    types_reads: bool = False


VENDORS = [
    Vendor(name="python", create=b'{"userId": "user-1", "expirationMinutes": 60}', extend=b""),
    Vendor(name="go", create=b'{"expirationMinutes":60,"userId":"user-1"}\n', extend=b"null\n"),
    Vendor(
        name="javascript",
        create=b'{"userId":"user-1"}',
        extend=b"{}",
        accept="application/json, text/plain, */*",
    ),
    Vendor(
        name="php",
        create=b'{"userId":"user-1","metadata":[],"expirationMinutes":60}',
        extend=b"",
        list_query="?limit=50",
        types_reads=True,
    ),
]


class Sender:
    """Sends what one official client would."""

    def __init__(self, vendor: Vendor, caller: Caller) -> None:
        common = {"Accept": vendor.accept, "User-Agent": f"OpenAPI-Generator/{vendor.name}"}
        typed = {**common, "Content-Type": "application/json"}
        self._caller = caller
        self._writes = typed
        self._reads = typed if vendor.types_reads else common

    def send(self, method: str, path: str = "", body: bytes | None = None) -> Any:
        headers = self._writes if method in {"POST", "PUT"} else self._reads
        answer = self._caller.send(method, self._caller.sessions + path, body, headers)
        assert answer.status == (201 if method == "POST" else 200), answer
        assert answer.headers["content-type"] == "application/json"
        return answer.json


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_every_form_an_official_client_sends_is_served(vendor: Vendor, caller: Caller) -> None:
    sender = Sender(vendor, caller)

    created = sender.send("POST", "", vendor.create)
    path = f"/{quote(created['sessionId'], safe='')}"
    assert created["status"] == "active"
    assert parse_timestamp(created["expiresAt"]) - parse_timestamp(created["createdAt"]) == timedelta(minutes=60)

    assert [session["id"] for session in sender.send("GET", vendor.list_query)] == [created["sessionId"]]
    assert sender.send("GET", path)["metadata"] == {}

    body = {"newMessages": [{"role": "user", "content": "Hi"}], "tokensUsed": 5, "status": None, "metadata": []}
    updated = sender.send("PUT", path, as_json(body))
    assert (updated["totalMessages"], updated["totalTokens"]) == (1, 5)

    extended = sender.send("PUT", f"{path}/extend", vendor.extend)
    assert parse_timestamp(extended["expiresAt"]) - parse_timestamp(created["expiresAt"]) == timedelta(minutes=60)
    again = sender.send("PUT", f"{path}/extend", b'{"additionalMinutes":5}')
    assert parse_timestamp(again["expiresAt"]) - parse_timestamp(created["expiresAt"]) == timedelta(minutes=65)

    assert sender.send("DELETE", path) == {"message": "Session deleted successfully"}
    assert sender.send("GET", vendor.list_query) == []


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
@pytest.mark.parametrize("session_id", ["a/extend", "a b", "é", "100%", "a?b#c", "session-1"])
def test_an_id_with_special_characters_is_percent_encoded_and_not_found(
    vendor: Vendor, session_id: str, caller: Caller
) -> None:
    for method, body in (("GET", None), ("PUT", b"{}"), ("DELETE", None)):
        headers = {"Accept": vendor.accept, "Content-Type": "application/json"}
        answer = caller.send(method, f"{caller.sessions}/{quote(session_id, safe='')}", body, headers)
        assert answer.error == (404, "SESSION_NOT_FOUND")


@pytest.mark.parametrize(
    "body", [None, b"", b"null", b"null\n", b"{}", b"{}\n", b'{"additionalMinutes":60}', b'{"additionalMinutes":null}']
)
@pytest.mark.parametrize("content_type", [None, "application/json", "application/json; charset=utf-8"])
def test_an_extension_without_arguments_may_come_in_every_form(
    caller: Caller, body: bytes | None, content_type: str | None
) -> None:
    created = caller.create().json
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = caller.extend_raw(created["sessionId"], body, headers)
    assert answer.status == 200
    assert parse_timestamp(answer.json["expiresAt"]) - parse_timestamp(created["expiresAt"]) == timedelta(minutes=60)


def test_an_empty_array_of_php_counts_as_an_empty_object_only_where_one_is_expected(caller: Caller) -> None:
    session_id = caller.new_session(metadata={"a": 1})
    assert caller.update_raw(session_id, b'{"metadata":[]}').status == 200
    assert caller.read(session_id)["metadata"] == {"a": 1}
    assert caller.update_raw(session_id, b'{"metadata":[1]}').status == 400
    assert caller.update_raw(unknown_id(), b'{"metadata":[]}').status == 404
