"""Request bodies: media type, content coding, and `Expect: 100-continue`."""

import pytest

from tests.http.callers import JSON, Caller, message
from tests.http.raw_connection import RawConnection, chunked, head

BODY = b'{"userId":"someone"}'


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json ; Charset=utf8",
        "application/json;",
        "application/json; version=1; charset=utf-8",
        "application/json; profile=x",
        "application/problem+json",
        "application/vnd.api+json",
        "application/vnd.a+b+json; charset=utf-8",
        "application/merge-patch+json",
        "image/svg+json",
    ],
)
def test_a_body_may_come_as_any_json_or_without_a_type(caller: Caller, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    created = caller.send("POST", caller.sessions, BODY, headers)
    assert created.status == 201
    path = f"{caller.sessions}/{created.json['sessionId']}"
    assert caller.send("PUT", path, b'{"tokensUsed":1}', headers).json["totalTokens"] == 1
    assert caller.send("PUT", f"{path}/extend", b"{}", headers).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/xml",
        "application/jsonp",
        "application/json-seq",
        "application/x-ndjson",
        "json",
        "+json",
        "application/+json",
        "*/*",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
        "application/json; charset=",
        "application/json; charset=utf-8; charset=utf-16",
        "application/vnd.api+json; charset=latin1",
        "application/json charset=utf-8",
    ],
)
def test_a_body_of_any_other_type_is_415(caller: Caller, content_type: str) -> None:
    session_id = caller.new_session()
    before = caller.get(session_id).body
    headers = {"Content-Type": content_type}
    path = f"{caller.sessions}/{session_id}"
    for response in (
        caller.send("POST", caller.sessions, BODY, headers),
        caller.send("PUT", path, b'{"tokensUsed":1}', headers),
        caller.send("PUT", f"{path}/extend", b"{}", headers),
        caller.send("PUT", f"{path}/extend", b" ", headers),
    ):
        assert response.error == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert caller.get(session_id).body == before
    assert len(caller.list().json) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "nonsense"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_an_empty_body_has_no_type_and_counts_as_absent(caller: Caller, headers: dict[str, str]) -> None:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    assert caller.send("PUT", f"{path}/extend", b"", headers).status == 200
    assert caller.send("PUT", f"{path}/extend", None, headers).status == 200
    for method, place in (("POST", caller.sessions), ("PUT", path)):
        for nothing in (b"", None):
            refused = caller.send(method, place, nothing, headers)
            assert refused.error == (400, "INVALID_JSON")
            assert "required" in refused.problem["detail"]
    assert caller.send("GET", path, b"", headers).status == 200
    assert caller.send("DELETE", path, b"", headers).status == 200


def test_an_empty_body_in_chunks_has_no_type_either(caller: Caller, connection: RawConnection) -> None:
    path = f"{caller.sessions}/{caller.new_session()}/extend"
    headers = {
        "Authorization": f"Bearer {caller.token}",
        "Transfer-Encoding": "chunked",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection.send(head("PUT", path, headers), *chunked(b""))
    assert connection.receive().status == 200
    connection.send(head("PUT", path, headers), *chunked(b"{}"))
    assert connection.receive().error == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "aes128gcm"])
def test_a_body_with_a_content_coding_is_415(caller: Caller, coding: str) -> None:
    response = caller.send("POST", caller.sessions, BODY, {**JSON, "Content-Encoding": coding})
    assert response.error == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_body_with_another_transfer_coding_than_chunked_is_415(caller: Caller) -> None:
    headers = {"Authorization": f"Bearer {caller.token}", "Transfer-Encoding": "gzip, chunked", **JSON}
    with RawConnection(caller.port) as connection:
        connection.send(head("POST", caller.sessions, headers), *chunked(BODY))
        assert connection.receive().error == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert caller.list().json == []


def test_a_body_may_have_the_identity_coding(caller: Caller) -> None:
    assert caller.send("POST", caller.sessions, BODY, {**JSON, "Content-Encoding": "identity"}).status == 201


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "nonsense", ""])
def test_a_get_may_have_any_content_type(caller: Caller, content_type: str) -> None:
    session_id = caller.new_session()
    headers = {"Content-Type": content_type}
    assert caller.send("GET", caller.sessions, headers=headers).status == 200
    assert caller.send("GET", f"{caller.sessions}/{session_id}", b"{not json", headers).status == 200
    assert caller.send("HEAD", f"{caller.sessions}/{session_id}", headers=headers).status == 200


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/json, text/plain, */*",
        "text/html",
        "image/png;q=1, application/json;q=0",
        "application/xml",
        "*/*;q=0",
        "",
        "nonsense ;;, q=",
    ],
)
def test_every_accept_header_is_served(caller: Caller, accept: str) -> None:
    headers = {"Accept": accept, "Accept-Encoding": "br", "Accept-Charset": "utf-16", "Accept-Language": "xx"}
    created = caller.send("POST", caller.sessions, BODY, headers)
    assert (created.status, created.headers["content-type"]) == (201, "application/json")
    path = f"{caller.sessions}/{created.json['sessionId']}"
    responses = [
        caller.send("GET", caller.sessions, headers=headers),
        caller.send("GET", path, headers=headers),
        caller.send("PUT", path, b"{}", headers),
        caller.send("PUT", f"{path}/extend", None, headers),
        caller.send("DELETE", path, headers=headers),
    ]
    assert [response.status for response in responses] == [200] * 5
    assert {response.headers["content-type"] for response in responses} == {"application/json"}
    refused = caller.send("GET", path, headers=headers)
    assert refused.error == (404, "SESSION_NOT_FOUND")


def test_expect_100_continue_is_supported(caller: Caller) -> None:
    headers = {
        "Authorization": f"Bearer {caller.token}",
        "Expect": "100-continue",
        "Content-Length": str(len(BODY)),
        **JSON,
    }
    with RawConnection(caller.port) as connection:
        for _ in range(2):
            connection.send(head("POST", caller.sessions, headers))
            assert connection.receive().status == 100
            connection.send(BODY)
            assert connection.receive().status == 201
    assert len(caller.list().json) == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Authorization": "Bearer unknown"}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Length": "9000000"}, 413),
    ],
)
def test_a_body_that_will_be_refused_gets_no_100_continue(
    caller: Caller, connection: RawConnection, change: dict[str, str], status: int
) -> None:
    headers = {
        "Authorization": f"Bearer {caller.token}",
        "Expect": "100-continue",
        "Content-Length": str(len(BODY)),
        **JSON,
        **change,
    }
    connection.send(head("POST", caller.sessions, headers))
    assert connection.receive().status == status


def test_a_body_may_come_in_chunks_of_any_size(caller: Caller, connection: RawConnection) -> None:
    headers = {"Authorization": f"Bearer {caller.token}", "Transfer-Encoding": "chunked"}
    body = b'{"userId":"someone","initialMessages":[{"role":"user","content":"%b"}]}' % ("é💬" * 50).encode()
    for size in (1, 7, 1 << 16):
        connection.send(head("POST", caller.sessions, headers), *chunked(body, size))
        created = connection.receive()
        assert created.status == 201
        assert caller.read(created.json["sessionId"])["messages"][0]["content"] == "é💬" * 50


def test_a_body_may_come_byte_by_byte(caller: Caller, connection: RawConnection) -> None:
    body = b'{"userId":"someone"}'
    headers = {"Authorization": f"Bearer {caller.token}", "Content-Length": str(len(body))}
    for byte in head("POST", caller.sessions, headers) + body:
        connection.send(bytes([byte]))
    assert connection.receive().status == 201


def test_a_large_response_is_complete(caller: Caller) -> None:
    texts = ["x" * 500_000, "💬" * 100_000, "y" * 500_000]
    session_id = caller.new_session(initialMessages=[message(text) for text in texts])
    assert [stored["content"] for stored in caller.read(session_id)["messages"]] == texts
