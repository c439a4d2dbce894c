"""The corpus in every field, parameter, path segment and header: no 5xx, equal responses, and values read back."""

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess, run_sessionary
from tests.hostile import corpus
from tests.hostile.differential import ServerPair, canonical_json, send_raw
from tests.http.callers import JSON, Caller, Response, unknown_id
from tests.http.raw_connection import head


@pytest.fixture(scope="module")
def servers(
    postgres_18: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """A server on each store."""
    file = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    with postgres_18.database() as url, ServerProcess(file) as sqlite, ServerProcess(url) as postgres:
        yield sqlite, postgres


@pytest.fixture(scope="module")
def tokens(servers: tuple[ServerProcess, ServerProcess]) -> list[str]:
    return [server.create_token(all_organisations=True) for server in servers]


@pytest.fixture
def pair(servers: tuple[ServerProcess, ServerProcess], tokens: list[str]) -> Iterator[ServerPair]:
    """A client of each server, for a new organisation."""
    name = f"organisation-{secrets.token_hex(8)}"
    with Caller(servers[0].port, tokens[0], name) as one, Caller(servers[1].port, tokens[1], name) as other:
        yield ServerPair(one, other)


Session = dict[str, Any]


class Field(Struct, frozen=True):
    """A field for a value in a body, and how to read it from the session afterwards."""

    name: str
    body: bytes
    read_back: Callable[[Session], Any] | None = None
    listed: bool = False


def message_with(member: bytes) -> bytes:
    return b'[{"role":"user","content":"a",%b}]' % member


def member_of(name: str) -> Callable[[Session], Any]:
    return lambda session: session[name]


def last(read: Callable[[Session], Any]) -> Callable[[Session], Any]:
    return lambda session: read(session["messages"][-1])


CREATE = b'{"userId":"ada",%b}'
COMMON_FIELDS = [
    Field("title", b'"title":%b', member_of("title"), listed=True),
    Field("model", b'"model":%b', member_of("model"), listed=True),
    Field("metadata", b'"metadata":%b', member_of("metadata"), listed=True),
    Field("in metadata", b'"metadata":{"k":%b}', lambda session: session["metadata"].get("k"), listed=True),
    Field(
        "deep in metadata", b'"metadata":{"k":[{"":%b}]}', lambda session: session["metadata"]["k"][0][""], listed=True
    ),
    Field("unknown", b'"unknown":%b'),
    Field("messages", b'"MESSAGES":%b'),
    Field("message", b'"MESSAGES":[%b]'),
    Field("role", b'"MESSAGES":[{"content":"a","role":%b}]'),
    Field("content", b'"MESSAGES":[{"role":"user","content":%b}]', last(member_of("content"))),
    Field(
        "part",
        b'"MESSAGES":[{"role":"user","content":[{"text":%b}]}]',
        last(lambda message: message["content"][0]["text"]),
    ),
    Field(
        "call",
        b'"MESSAGES":[{"role":"assistant","tool_calls":[{"id":%b}]}]',
        last(lambda message: message["tool_calls"][0]["id"]),
    ),
    Field("member", b'"MESSAGES":%b' % message_with(b'"k":%b').replace(b"%b}]", b"%b}]"), last(member_of("k"))),
    Field("deep member", b'"MESSAGES":%b' % message_with(b'"k":[{"":%b}]'), last(lambda message: message["k"][0][""])),
    Field("timestamp", b'"MESSAGES":%b' % message_with(b'"created_at":%b')),
]
CREATE_FIELDS = [
    Field("userId", b'"sessionGroup":"g","userId":%b', member_of("user_id"), listed=True),
    Field("sessionGroup", b'"userId":"ada","sessionGroup":%b', member_of("session_group"), listed=True),
    Field("expirationMinutes", b'"userId":"ada","expirationMinutes":%b'),
]
UPDATE_FIELDS = [
    Field("tokensUsed", b'"tokensUsed":%b', member_of("total_tokens")),
    Field("status", b'"status":%b', member_of("status"), listed=True),
]


def create_with(body: bytes) -> Callable[[Caller], Response]:
    return lambda api: api.create_raw(body)


def assert_reads_back(
    pair: ServerPair, field: Field, text: bytes, responses: tuple[Response, Response], context: object
) -> None:
    """Read a session on both servers, complete, as a window and in a list, and check that the value is unchanged."""
    given = json.loads(text) if field.read_back else None
    for api, response in zip(pair, responses, strict=True):
        session_id = response.json["sessionId"]
        session = api.read(session_id)
        window = api.get(session_id, "?messagesOffset=0&messagesLimit=1000")
        if field.read_back is None or given is None:
            continue
        expected = {} if field.name == "metadata" and given == [] else given
        if field.name == "metadata":
            expected = {key: value for key, value in expected.items() if value is not None}
        assert canonical_json(field.read_back(session)) == canonical_json(expected), context
        assert canonical_json(window.json["messages"]) == canonical_json(session["messages"]), context
        if field.listed:
            (read_back,) = [each for each in api.list("?limit=1").json if each["id"] == session_id]
            assert canonical_json(field.read_back(read_back)) == canonical_json(expected), context
    pair.assert_same_response(lambda api: api.get(responses[api is pair.postgres].json["sessionId"]), context)


@pytest.mark.parametrize("field", [*CREATE_FIELDS, *COMMON_FIELDS], ids=lambda field: field.name)
def test_create_session_accepts_or_refuses_any_value_equally(pair: ServerPair, field: Field) -> None:
    template = field.body.replace(b"MESSAGES", b"initialMessages")
    template = b"{%b}" % template if field in CREATE_FIELDS else CREATE % template
    taken = 0
    for name, text in corpus.values():
        body = template.replace(b"%b", text)
        responses = pair.assert_same_response(create_with(body), name)
        if responses[0].status == 201:
            assert_reads_back(pair, field, text, responses, name)
            taken += 1
    assert taken


@pytest.mark.parametrize("field", [*UPDATE_FIELDS, *COMMON_FIELDS], ids=lambda field: field.name)
def test_update_session_accepts_or_refuses_any_value_equally(pair: ServerPair, field: Field) -> None:
    template = b"{%b}" % field.body.replace(b"MESSAGES", b"newMessages")
    taken = 0
    for name, text in corpus.values():
        ids = [api.new_session() for api in pair]
        body = template.replace(b"%b", text)

        def send(api: Caller, body: bytes = body, ids: list[str] = ids) -> Response:
            return api.update_raw(ids[api is pair.postgres], body)

        responses = pair.assert_same_response(send, name)
        if responses[0].status == 200:
            assert_reads_back(pair, field, text, responses, name)
            taken += 1
    assert taken


def test_extend_session_accepts_or_refuses_any_value_equally(pair: ServerPair) -> None:
    ids = [api.new_session() for api in pair]
    for name, text in corpus.values():
        for template in (b'{"additionalMinutes":%b}', b'{"unknown":%b}', b"%b"):
            body = template.replace(b"%b", text)

            def send(api: Caller, body: bytes = body) -> Response:
                return api.extend_raw(ids[api is pair.postgres], body)

            pair.assert_same_response(send, name)


def test_an_idempotency_key_of_any_form_is_accepted_or_refused_equally(pair: ServerPair) -> None:
    for name, text in corpus.values():
        if not text.startswith(b'"'):
            continue
        for template in (b'"metadata":{%b:1}', b'"initialMessages":[{"role":"user","content":"a",%b:1}]', b"%b:1"):
            body = CREATE % template.replace(b"%b", text)
            responses = pair.assert_same_response(create_with(body), name)
            if responses[0].status != 201 or template == b"%b:1":
                continue
            key = json.loads(text)
            for api, response in zip(pair, responses, strict=True):
                session = api.read(response.json["sessionId"])
                holder = session["metadata"] if b"metadata" in template else session["messages"][0]
                assert key in holder, name


@pytest.mark.parametrize("name", corpus.BODIES)
def test_any_body_is_accepted_or_refused_equally(pair: ServerPair, name: str) -> None:
    body = corpus.BODIES[name]
    ids = [api.new_session() for api in pair]
    for method, path in (("POST", ""), ("PUT", "/ID"), ("PUT", "/ID/extend"), ("DELETE", f"/{unknown_id()}")):

        def send(api: Caller, method: str = method, path: str = path) -> Response:
            mine = path.replace("ID", ids[api is pair.postgres])
            return api.send(method, api.sessions + mine, body, JSON)

        pair.assert_same_response(send, (name, method))


def test_an_export_has_the_values_of_a_read(pair: ServerPair, servers: Any, tmp_path: Path) -> None:
    texts = [text for text in corpus.TEXTS.values() if text]
    for text in texts:
        body = {
            "userId": "ada",
            "metadata": {"k": text.replace("\0", "")[:5_000]},
            "initialMessages": [{"role": "user", "content": text, "name": text[:999], text[:99]: [text[:999]]}],
        }
        pair.assert_same_response(create_with(json.dumps(body).encode()), text[:20])
    found = []
    for api, server in zip(pair, servers, strict=True):
        environment = {
            "SESSIONARY_URL": server.base_url,
            "SESSIONARY_TOKEN": str(api.token),
            "SESSIONARY_ORGANISATION": api.organisation,
        }
        file = tmp_path / f"{server.port}.jsonl"
        completed = run_sessionary("export", "--output", str(file), environment=environment)
        assert completed.returncode == 0, completed.stderr
        sessions = [json.loads(line) for line in file.read_bytes().split(b"\n") if line]
        assert len(sessions) == len(texts)
        for session in sessions:
            assert canonical_json(session) == canonical_json(api.read(session["id"]))
        found.append([message["content"] for session in sessions for message in session["messages"]])
    assert found == [texts[::-1]] * 2


@pytest.mark.parametrize("field", ["organisation", "session", "behind the session", "before"])
def test_any_path_has_equal_responses(pair: ServerPair, field: str) -> None:
    session_id = unknown_id()
    for segment in corpus.SEGMENTS:
        path = {
            "organisation": f"/api/v3/organizations/{segment}/ai/sessions",
            "session": f"/api/v3/organizations/demo/ai/sessions/{segment}",
            "behind the session": f"/api/v3/organizations/demo/ai/sessions/{session_id}/{segment}",
            "before": f"/{segment}/api/v3/organizations/demo/ai/sessions",
        }[field]
        for method in ("GET", "PUT", "DELETE"):

            def send(api: Caller, path: str = path, method: str = method) -> Response:
                body = {"Content-Length": "2"} if method == "PUT" else {}
                sent = head(method, path, {"Authorization": f"Bearer {api.token}", **body, "Connection": "close"})
                return send_raw(api, sent + (b"{}" if body else b""))

            response, _ = pair.assert_same_response(send, (segment[:40], method))
            assert response.status in {200, 400, 404, 405, 414}, (segment[:40], method)
            assert "x-evil" not in response.headers


LISTS = ["userId", "sessionGroup", "model", "status", "limit", "offset", "cursor", "unknown", "__proto__"]
WINDOWS = ["messagesLimit", "messagesOffset", "unknown"]


@pytest.mark.parametrize("name", [*LISTS, *WINDOWS])
def test_any_parameter_has_equal_responses(pair: ServerPair, name: str) -> None:
    ids = [api.new_session(userId="ada", model="m") for api in pair]
    for value in corpus.QUERY_VALUES:
        for query in (f"?{name}={value}", f"?{name}", f"?{name}={value}&{name}={value}", f"?{value}={name}"):

            def send(api: Caller, query: str = query) -> Response:
                mine = f"/{ids[api is pair.postgres]}" if name in WINDOWS else ""
                return api.send("GET", api.sessions + mine + query)

            response, _ = pair.assert_same_response(send, query[:60])
            assert response.status in {200, 400}, query[:60]


HEADERS = ["Idempotency-Key", "If-Match", "If-None-Match", "X-Request-Id", "Content-Type", "Accept", "Authorization"]
HEADERS += ["Cookie", "Origin", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-HTTP-Method-Override", "Range"]


@pytest.mark.parametrize("name", HEADERS)
def test_any_header_has_equal_responses(pair: ServerPair, name: str) -> None:
    ids = [api.new_session() for api in pair]
    for value in corpus.HEADER_VALUES:
        for method, body in (("GET", b""), ("PUT", b"{}")):

            def send(api: Caller, value: bytes = value, method: str = method, body: bytes = body) -> Response:
                given = {} if name == "Authorization" else {"Authorization": f"Bearer {api.token}"}
                given |= {"Content-Length": str(len(body)), "Connection": "close"}
                path = f"{api.sessions}/{ids[api is pair.postgres]}"
                start = head(method, path, given)[:-2]
                return send_raw(api, start + name.encode() + b": " + value + b"\r\n\r\n" + body)

            response, _ = pair.assert_same_response(send, (value[:40], method))
            assert response.status in {200, 304, 400, 401, 412, 415}, (value[:40], method)


@pytest.mark.parametrize("name", corpus.BAD_LINES)
def test_an_ambiguous_header_line_changes_nothing(pair: ServerPair, name: str) -> None:
    def send(api: Caller) -> Response:
        start = head("POST", api.sessions, {"Authorization": f"Bearer {api.token}"})[:-2]
        hidden = b'{"userId":"hidden"}'
        inner = head("POST", api.sessions, {"Authorization": f"Bearer {api.token}", "Content-Length": "19"})
        return send_raw(api, start + corpus.BAD_LINES[name] + b"\r\n" + b"0\r\n\r\n" + inner + hidden)

    response, _ = pair.assert_same_response(send, name)
    assert response.status == 400, name
    pair.assert_same_response(lambda api: api.list(), name)
    assert pair.sqlite.list().json == []
