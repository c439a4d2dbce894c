"""The corpus through every field, parameter, segment and header: no fault, both stores alike, and all of it comes back."""

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
from tests.hostile.differential import Both, exactly, on_a_wire
from tests.http.calling import JSON, Answer, Caller, unknown_id
from tests.http.wires import head


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
def both(servers: tuple[ServerProcess, ServerProcess], tokens: list[str]) -> Iterator[Both]:
    """A caller of each, for an organisation that no other test knows."""
    name = f"organisation-{secrets.token_hex(8)}"
    with Caller(servers[0].port, tokens[0], name) as one, Caller(servers[1].port, tokens[1], name) as other:
        yield Both(one, other)


Session = dict[str, Any]


class Place(Struct, frozen=True):
    """A place for a value in a body, and where to look for it in the session, once it was taken."""

    name: str
    body: bytes
    shown: Callable[[Session], Any] | None = None
    listed: bool = False


def message_with(member: bytes) -> bytes:
    return b'[{"role":"user","content":"a",%b}]' % member


def place_of(name: str) -> Callable[[Session], Any]:
    return lambda session: session[name]


def last(read: Callable[[Session], Any]) -> Callable[[Session], Any]:
    return lambda session: read(session["messages"][-1])


CREATE = b'{"userId":"ada",%b}'
IN_BOTH = [
    Place("title", b'"title":%b', place_of("title"), listed=True),
    Place("model", b'"model":%b', place_of("model"), listed=True),
    Place("metadata", b'"metadata":%b', place_of("metadata"), listed=True),
    Place("in metadata", b'"metadata":{"k":%b}', lambda session: session["metadata"].get("k"), listed=True),
    Place(
        "deep in metadata", b'"metadata":{"k":[{"":%b}]}', lambda session: session["metadata"]["k"][0][""], listed=True
    ),
    Place("unknown", b'"unknown":%b'),
    Place("messages", b'"MESSAGES":%b'),
    Place("message", b'"MESSAGES":[%b]'),
    Place("role", b'"MESSAGES":[{"content":"a","role":%b}]'),
    Place("content", b'"MESSAGES":[{"role":"user","content":%b}]', last(place_of("content"))),
    Place(
        "part", b'"MESSAGES":[{"role":"user","content":[{"text":%b}]}]', last(lambda said: said["content"][0]["text"])
    ),
    Place(
        "call",
        b'"MESSAGES":[{"role":"assistant","tool_calls":[{"id":%b}]}]',
        last(lambda said: said["tool_calls"][0]["id"]),
    ),
    Place("member", b'"MESSAGES":%b' % message_with(b'"k":%b').replace(b"%b}]", b"%b}]"), last(place_of("k"))),
    Place("deep member", b'"MESSAGES":%b' % message_with(b'"k":[{"":%b}]'), last(lambda said: said["k"][0][""])),
    Place("instant", b'"MESSAGES":%b' % message_with(b'"created_at":%b')),
]
OF_CREATE = [
    Place("userId", b'"sessionGroup":"g","userId":%b', place_of("user_id"), listed=True),
    Place("sessionGroup", b'"userId":"ada","sessionGroup":%b', place_of("session_group"), listed=True),
    Place("expirationMinutes", b'"userId":"ada","expirationMinutes":%b'),
]
OF_UPDATE = [
    Place("tokensUsed", b'"tokensUsed":%b', place_of("total_tokens")),
    Place("status", b'"status":%b', place_of("status"), listed=True),
]


def creating(body: bytes) -> Callable[[Caller], Answer]:
    return lambda api: api.create_raw(body)


def see_it_come_back(both: Both, place: Place, text: bytes, responses: tuple[Answer, Answer], what: object) -> None:
    """Read a session on both servers, whole, by a window and in a list, and see the value as it was sent."""
    given = json.loads(text) if place.shown else None
    for api, response in zip(both, responses, strict=True):
        session_id = response.json["sessionId"]
        session = api.read(session_id)
        window = api.get(session_id, "?messagesOffset=0&messagesLimit=1000")
        if place.shown is None or given is None:
            continue
        expected = {} if place.name == "metadata" and given == [] else given
        if place.name == "metadata":
            expected = {key: value for key, value in expected.items() if value is not None}
        assert exactly(place.shown(session)) == exactly(expected), what
        assert exactly(window.json["messages"]) == exactly(session["messages"]), what
        if place.listed:
            (shown,) = [each for each in api.list("?limit=1").json if each["id"] == session_id]
            assert exactly(place.shown(shown)) == exactly(expected), what
    both.alike(lambda api: api.get(responses[api is both.postgres].json["sessionId"]), what)


@pytest.mark.parametrize("place", [*OF_CREATE, *IN_BOTH], ids=lambda place: place.name)
def test_create_session_takes_any_value_or_refuses_it_alike(both: Both, place: Place) -> None:
    template = place.body.replace(b"MESSAGES", b"initialMessages")
    template = b"{%b}" % template if place in OF_CREATE else CREATE % template
    taken = 0
    for name, text in corpus.values():
        body = template.replace(b"%b", text)
        responses = both.alike(creating(body), name)
        if responses[0].status == 201:
            see_it_come_back(both, place, text, responses, name)
            taken += 1
    assert taken


@pytest.mark.parametrize("place", [*OF_UPDATE, *IN_BOTH], ids=lambda place: place.name)
def test_update_session_takes_any_value_or_refuses_it_alike(both: Both, place: Place) -> None:
    template = b"{%b}" % place.body.replace(b"MESSAGES", b"newMessages")
    taken = 0
    for name, text in corpus.values():
        ids = [api.begin() for api in both]
        body = template.replace(b"%b", text)

        def ask(api: Caller, body: bytes = body, ids: list[str] = ids) -> Answer:
            return api.update_raw(ids[api is both.postgres], body)

        responses = both.alike(ask, name)
        if responses[0].status == 200:
            see_it_come_back(both, place, text, responses, name)
            taken += 1
    assert taken


def test_extend_session_takes_any_value_or_refuses_it_alike(both: Both) -> None:
    ids = [api.begin() for api in both]
    for name, text in corpus.values():
        for template in (b'{"additionalMinutes":%b}', b'{"unknown":%b}', b"%b"):
            body = template.replace(b"%b", text)

            def ask(api: Caller, body: bytes = body) -> Answer:
                return api.extend_raw(ids[api is both.postgres], body)

            both.alike(ask, name)


def test_a_key_of_any_form_is_taken_or_refused_alike(both: Both) -> None:
    for name, text in corpus.values():
        if not text.startswith(b'"'):
            continue
        for template in (b'"metadata":{%b:1}', b'"initialMessages":[{"role":"user","content":"a",%b:1}]', b"%b:1"):
            body = CREATE % template.replace(b"%b", text)
            responses = both.alike(creating(body), name)
            if responses[0].status != 201 or template == b"%b:1":
                continue
            key = json.loads(text)
            for api, response in zip(both, responses, strict=True):
                session = api.read(response.json["sessionId"])
                holder = session["metadata"] if b"metadata" in template else session["messages"][0]
                assert key in holder, name


@pytest.mark.parametrize("name", corpus.BODIES)
def test_any_body_is_taken_or_refused_alike(both: Both, name: str) -> None:
    body = corpus.BODIES[name]
    ids = [api.begin() for api in both]
    for method, path in (("POST", ""), ("PUT", "/ID"), ("PUT", "/ID/extend"), ("DELETE", f"/{unknown_id()}")):

        def ask(api: Caller, method: str = method, path: str = path) -> Answer:
            mine = path.replace("ID", ids[api is both.postgres])
            return api.send(method, api.sessions + mine, body, JSON)

        both.alike(ask, (name, method))


def test_what_was_taken_is_exported_as_it_is_read(both: Both, servers: Any, tmp_path: Path) -> None:
    texts = [text for text in corpus.TEXTS.values() if text]
    for text in texts:
        body = {
            "userId": "ada",
            "metadata": {"k": text.replace("\0", "")[:5_000]},
            "initialMessages": [{"role": "user", "content": text, "name": text[:999], text[:99]: [text[:999]]}],
        }
        both.alike(creating(json.dumps(body).encode()), text[:20])
    found = []
    for api, server in zip(both, servers, strict=True):
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
            assert exactly(session) == exactly(api.read(session["id"]))
        found.append([said["content"] for session in sessions for said in session["messages"]])
    assert found == [texts[::-1]] * 2


@pytest.mark.parametrize("place", ["organisation", "session", "behind the session", "before"])
def test_a_path_of_any_form_is_answered_alike(both: Both, place: str) -> None:
    session_id = unknown_id()
    for segment in corpus.SEGMENTS:
        path = {
            "organisation": f"/api/v3/organizations/{segment}/ai/sessions",
            "session": f"/api/v3/organizations/demo/ai/sessions/{segment}",
            "behind the session": f"/api/v3/organizations/demo/ai/sessions/{session_id}/{segment}",
            "before": f"/{segment}/api/v3/organizations/demo/ai/sessions",
        }[place]
        for method in ("GET", "PUT", "DELETE"):

            def ask(api: Caller, path: str = path, method: str = method) -> Answer:
                body = {"Content-Length": "2"} if method == "PUT" else {}
                sent = head(method, path, {"Authorization": f"Bearer {api.token}", **body, "Connection": "close"})
                return on_a_wire(api, sent + (b"{}" if body else b""))

            response, _ = both.alike(ask, (segment[:40], method))
            assert response.status in {200, 400, 404, 405, 414}, (segment[:40], method)
            assert "x-evil" not in response.headers


LISTS = ["userId", "sessionGroup", "model", "status", "limit", "offset", "cursor", "unknown", "__proto__"]
WINDOWS = ["messagesLimit", "messagesOffset", "unknown"]


@pytest.mark.parametrize("name", [*LISTS, *WINDOWS])
def test_a_parameter_of_any_form_is_answered_alike(both: Both, name: str) -> None:
    ids = [api.begin(userId="ada", model="m") for api in both]
    for value in corpus.QUERY_VALUES:
        for query in (f"?{name}={value}", f"?{name}", f"?{name}={value}&{name}={value}", f"?{value}={name}"):

            def ask(api: Caller, query: str = query) -> Answer:
                mine = f"/{ids[api is both.postgres]}" if name in WINDOWS else ""
                return api.send("GET", api.sessions + mine + query)

            response, _ = both.alike(ask, query[:60])
            assert response.status in {200, 400}, query[:60]


HEADERS = ["Idempotency-Key", "If-Match", "If-None-Match", "X-Request-Id", "Content-Type", "Accept", "Authorization"]
HEADERS += ["Cookie", "Origin", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-HTTP-Method-Override", "Range"]


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_any_form_is_answered_alike(both: Both, name: str) -> None:
    ids = [api.begin() for api in both]
    for value in corpus.HEADER_VALUES:
        for method, body in (("GET", b""), ("PUT", b"{}")):

            def ask(api: Caller, value: bytes = value, method: str = method, body: bytes = body) -> Answer:
                given = {} if name == "Authorization" else {"Authorization": f"Bearer {api.token}"}
                given |= {"Content-Length": str(len(body)), "Connection": "close"}
                path = f"{api.sessions}/{ids[api is both.postgres]}"
                begun = head(method, path, given)[:-2]
                return on_a_wire(api, begun + name.encode() + b": " + value + b"\r\n\r\n" + body)

            response, _ = both.alike(ask, (value[:40], method))
            assert response.status in {200, 304, 400, 401, 412, 415}, (value[:40], method)


@pytest.mark.parametrize("name", corpus.BAD_LINES)
def test_a_header_line_that_two_readers_could_part_differently_changes_nothing(both: Both, name: str) -> None:
    def ask(api: Caller) -> Answer:
        begun = head("POST", api.sessions, {"Authorization": f"Bearer {api.token}"})[:-2]
        hidden = b'{"userId":"hidden"}'
        inner = head("POST", api.sessions, {"Authorization": f"Bearer {api.token}", "Content-Length": "19"})
        return on_a_wire(api, begun + corpus.BAD_LINES[name] + b"\r\n" + b"0\r\n\r\n" + inner + hidden)

    response, _ = both.alike(ask, name)
    assert response.status == 400, name
    both.alike(lambda api: api.list(), name)
    assert both.sqlite.list().json == []
