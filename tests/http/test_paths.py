from collections.abc import Iterator

import pytest

from tests.harness.server import ServerProcess
from tests.http.callers import JSON, Caller, Response, unknown_id

BASE = "/api/v3/organizations/demo/ai/sessions"
ID = "01999999-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v3",
        "/api/v3/organizations/demo",
        "/api/v3/organizations/demo/ai",
        "/api/v3/organizations/demo/sessions",
        "/api/v2/organizations/demo/ai/sessions",
        "/API/v3/organizations/demo/ai/sessions",
        "/api/v3/Organizations/demo/ai/sessions",
        "/api/v3/organization/demo/ai/sessions",
        "/api/v3/organizations/demo/AI/sessions",
        f"{BASE}/{ID}/extended",
        f"{BASE}/{ID}/extend/more",
        f"{BASE}.json",
        f"{BASE};v=1",
    ],
)
def test_an_unknown_path_is_404(caller: Caller, path: str) -> None:
    assert caller.send("GET", path).error == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    [
        BASE.replace("demo", ""),
        f"{BASE}/../sessions",
        f"{BASE}/./{ID}",
        f"{BASE}//extend",
        f"{BASE}/{ID}/extend//more",
        f"/.{BASE}",
        f"{BASE}/{ID}/%2F",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_dots_and_missing_segments_never_redirect(caller: Caller, method: str, path: str) -> None:
    response = caller.send(method, path, b"{}", JSON)
    assert response.status in {404, 405}
    assert "location" not in response.headers


def slashed(path: str) -> list[str]:
    """The same path with runs of slashes, in front, between and at the end."""
    return [f"{path}/", f"{path}///", f"/{path}", path.replace("/", "//"), f"////{path.replace('/', '///')}//"]


def test_runs_of_slashes_are_collapsed_and_one_at_the_end_is_ignored(caller: Caller) -> None:
    session_id = caller.new_session()
    for base in (caller.sessions, caller.sessions.replace("organizations", "organisations")):
        for path in slashed(base):
            created = caller.send("POST", path, b'{"userId":"a"}')
            assert created.status == 201
            assert created.json["sessionId"] in [one["id"] for one in caller.send("GET", path).json]
        for path in slashed(f"{base}/{session_id}"):
            assert caller.send("GET", path).json["id"] == session_id
            assert caller.send("HEAD", path).status == 200
            assert caller.send("PUT", path, b"{}").status == 200
        for path in slashed(f"{base}/{session_id}/extend"):
            assert caller.send("PUT", path).status == 200
            assert caller.send("GET", path).error == (405, "METHOD_NOT_ALLOWED")
        for path in slashed(f"{base}/{session_id}%2Fextend"):
            assert caller.send("PUT", path, b"{}").error == (404, "SESSION_NOT_FOUND")
    for path in slashed("/health/live") + slashed("/health/ready") + slashed("/openapi.json"):
        assert caller.with_token(None).send("GET", path).status == 200
    assert caller.send("DELETE", f"{caller.sessions}//{session_id}/").status == 200


def test_a_link_has_no_run_of_slashes(caller: Caller) -> None:
    caller.new_session()
    caller.new_session()
    link = caller.send("GET", f"/{caller.sessions}//?limit=1").headers["link"]
    assert link.startswith(f"<{caller.sessions}?")


def test_a_request_repeated_with_other_slashes_is_the_same_request(caller: Caller) -> None:
    headers = JSON | {"Idempotency-Key": "slashes"}
    first = caller.send("POST", caller.sessions, b'{"userId":"a"}', headers)
    again = caller.send("POST", f"/{caller.sessions}/", b'{"userId":"a"}', headers)
    assert (again.status, again.json) == (201, first.json)
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    "path",
    [
        BASE.replace("/ai/", "%2Fai/"),
        BASE.replace("/ai/", "/%61i/"),
        BASE.replace("sessions", "session%73"),
        BASE.replace("v3", "%763"),
        f"{BASE}%2F{ID}",
        f"{BASE}/{ID}/%65xtend",
    ],
)
def test_paths_are_matched_before_segments_are_decoded(caller: Caller, path: str) -> None:
    assert caller.send("PUT", path, b"{}", JSON).error == (404, "NOT_FOUND")


def test_an_encoded_slash_is_part_of_the_id(caller: Caller) -> None:
    session_id = caller.new_session()
    before = caller.read(session_id)
    for method in ("GET", "PUT", "DELETE"):
        path = f"{caller.sessions}/{session_id}%2Fextend"
        assert caller.send(method, path, b"{}", JSON).error == (404, "SESSION_NOT_FOUND")
    assert caller.send("GET", f"{caller.sessions}/a%2Fextend").error == (404, "SESSION_NOT_FOUND")
    assert caller.read(session_id) == before


def test_both_spellings_of_organizations_work(caller: Caller) -> None:
    other = caller.with_path_variant("organisations")
    assert other.sessions != caller.sessions
    session_id = caller.new_session()
    assert other.get(session_id).body == caller.get(session_id).body
    assert other.list().json == caller.list().json
    assert other.update(session_id, tokensUsed=3).json["totalTokens"] == 3
    assert other.extend(session_id).status == 200
    assert caller.get(other.new_session()).status == 200
    assert other.delete(session_id).status == 200
    assert caller.get(session_id).status == 404


def test_an_id_is_accepted_in_any_case_and_returned_in_lower_case(caller: Caller) -> None:
    session_id = caller.new_session()
    upper = session_id.upper()
    assert upper != session_id
    assert caller.read(upper)["id"] == session_id
    assert caller.update(upper, tokensUsed=1).json["sessionId"] == session_id
    assert caller.extend(upper).json["sessionId"] == session_id
    assert caller.delete(upper).status == 200
    assert caller.get(session_id).status == 404


def test_an_id_may_be_percent_encoded(caller: Caller) -> None:
    session_id = caller.new_session()
    encoded = "".join(f"%{ord(letter):02x}" for letter in session_id)
    assert caller.read(encoded)["id"] == session_id
    assert caller.read(encoded.replace("%2d", "%2D"))["id"] == session_id
    assert caller.extend(encoded).status == 200


NOT_UUIDS = [
    "0",
    "null",
    "undefined",
    "extend",
    "session-1",
    "sess_01HZX",
    ID.replace("-", ""),
    f"%7B{ID}%7D",
    f"urn:uuid:{ID}",
    f"{ID}%20",
    f"%20{ID}",
    f"{ID}%0A",
    f"{ID}%00",
    f"{ID}0",
    ID[:-1],
    ID.replace("0", "g"),
    ID.replace("-", "%E2%80%90"),
    "%D9%A0" * 8 + ID[8:],
    "x" * 4000,
    "%F0%9F%92%AC",
    "..",
    "*",
    "'%20OR%201=1--",
]


@pytest.mark.parametrize("session_id", NOT_UUIDS)
def test_an_id_that_is_not_a_uuid_is_404(caller: Caller, session_id: str) -> None:
    for response in (
        caller.get(session_id),
        caller.update(session_id),
        caller.extend(session_id),
        caller.delete(session_id),
    ):
        assert response.error == (404, "SESSION_NOT_FOUND")


@pytest.mark.parametrize(
    "form",
    [
        "{digits}",
        "%7B{id}%7D",
        "urn:uuid:{id}",
        "{id}%20",
        "%20{id}",
        "{id}%0A",
        "{id}%00",
        "{id}/.",
        "{id}.json",
        "{short}",
    ],
)
def test_another_form_of_a_sessions_id_is_404(caller: Caller, form: str) -> None:
    session_id = caller.new_session()
    before = caller.read(session_id)
    digits = session_id.replace("-", "")
    other = form.format(id=session_id, digits=digits, short=f"{session_id[:13]}{session_id[14:]}")
    for response in (caller.get(other), caller.update(other, tokensUsed=1), caller.extend(other), caller.delete(other)):
        assert response.error[0] == 404
    assert caller.read(session_id) == before


@pytest.mark.parametrize("session_id", ["%", "%2", "%zz", "%FF", "%C3", "%ED%A0%80", "%C0%AF"])
def test_an_id_that_is_not_utf8_is_404(caller: Caller, session_id: str) -> None:
    for response in (caller.get(session_id), caller.extend(session_id), caller.delete(session_id)):
        assert response.error[0] == 404


@pytest.mark.parametrize(
    "organisation",
    ["a", "a b", "demo/ai", "a%2Fb", "..", "Ünï-çødé", "组织", "💬" * 128, "x" * 128, "o'brien; DROP TABLE", "?&=#+"],
)
def test_an_organisation_is_any_text_of_up_to_128_code_points(
    server: ServerProcess, operator_token: str, organisation: str
) -> None:
    with Caller(server.port, operator_token, organisation) as caller:
        session_id = caller.new_session()
        assert session_id in [session["id"] for session in caller.list().json]
        assert caller.read(session_id)["id"] == session_id
        assert caller.delete(session_id).status == 200


@pytest.mark.parametrize(
    "organisation",
    ["", "x" * 129, "💬" * 129, "a\0b", "\n", "a\x1f", "\x7f", "a\x80", "\x9f"],
    ids=lambda name: f"{len(name)} {name[:3]!r}",
)
def test_an_invalid_organisation_is_404(server: ServerProcess, operator_token: str, organisation: str) -> None:
    with Caller(server.port, operator_token, organisation) as caller:
        assert caller.list().error == (404, "NOT_FOUND")
        assert caller.create().error == (404, "NOT_FOUND")


@pytest.mark.parametrize("segment", ["%FF", "%", "%4", "%G1", "%ED%A0%80"])
def test_an_organisation_that_is_not_utf8_is_404(caller: Caller, segment: str) -> None:
    assert caller.send("GET", BASE.replace("demo", segment)).error == (404, "NOT_FOUND")


def test_an_organisation_is_case_sensitive(caller: Caller) -> None:
    session_id = caller.new_session()
    with Caller(caller.port, caller.token, caller.organisation.upper()) as upper:
        assert upper.list().json == []
        assert upper.get(session_id).error == (404, "SESSION_NOT_FOUND")


COLLECTION_METHODS = "GET, HEAD, POST"
SESSION_METHODS = "DELETE, GET, HEAD, PUT"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (BASE, COLLECTION_METHODS),
        (BASE.replace("iz", "is"), COLLECTION_METHODS),
        (f"{BASE}/{ID}", SESSION_METHODS),
        (f"{BASE}/not-a-uuid", SESSION_METHODS),
        (f"{BASE}/{ID}/extend", "PUT"),
        ("/health/live", "GET, HEAD"),
        ("/health/ready", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_an_unsupported_method_is_405(caller: Caller, method: str, path: str, allowed: str) -> None:
    if method in allowed.split(", "):
        return
    response = caller.send(method, path)
    assert response.status == 405
    assert response.headers["allow"] == allowed
    if method != "HEAD":
        assert response.error == (405, "METHOD_NOT_ALLOWED")


def test_head_responds_like_get_without_the_body(caller: Caller) -> None:
    session_id = caller.new_session(sessionGroup="a", title="Ä")
    caller.new_session(sessionGroup="a")
    for path in ("?limit=1", f"/{session_id}", f"/{session_id}?messagesLimit=1", f"/{unknown_id()}", "?limit=0"):
        get = caller.send("GET", caller.sessions + path)
        head = caller.send("HEAD", caller.sessions + path)
        assert (head.status, head.body) == (get.status, b"")
        assert _lasting(head) == _lasting(get)
    assert "link" in caller.send("HEAD", f"{caller.sessions}?limit=1").headers


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/openapi.json"])
def test_health_checks_and_the_document_need_no_token(caller: Caller, path: str) -> None:
    for method in ("GET", "HEAD"):
        response = caller.with_token(None).send(method, path)
        assert response.status == 200
        assert response.headers["content-type"] == "application/json"
        assert int(response.headers["content-length"]) > 2


def _lasting(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name not in {"date", "x-request-id"}}


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    directory = tmp_path_factory.mktemp("prefixed")
    with (
        ServerProcess(f"sqlite:///{directory}/sessionary.db", "--path-prefix", "/tools/chat") as server,
        Caller(server.port, server.create_token("demo"), "demo") as caller,
    ):
        caller.sessions = f"/tools/chat{caller.sessions}"
        yield caller


def test_the_api_is_served_under_a_path_prefix(prefixed: Caller) -> None:
    ids = [prefixed.new_session(userId="prefixed") for _ in range(3)]
    response = prefixed.list("?userId=prefixed&limit=2")
    target = response.headers["link"].partition(">")[0].removeprefix("<")
    assert target.startswith(f"{prefixed.sessions}?")
    following = prefixed.send("GET", target)
    assert [session["id"] for session in response.json + following.json] == ids[::-1]
    assert prefixed.send("GET", "/tools/chat/health/live").status == 200


def test_a_link_contains_the_prefix_that_a_proxy_stripped(prefixed: Caller) -> None:
    prefixed.new_session()
    prefixed.new_session()
    response = prefixed.send("GET", f"{prefixed.sessions.removeprefix('/tools/chat')}?limit=1")
    assert response.status == 200
    assert response.headers["link"].startswith(f"<{prefixed.sessions}?")


def test_a_path_with_another_prefix_is_404(prefixed: Caller) -> None:
    assert prefixed.send("GET", f"/tools{BASE}").error == (404, "NOT_FOUND")
    assert prefixed.send("GET", "/tools/chat/x").error == (404, "NOT_FOUND")
    assert prefixed.send("GET", prefixed.sessions.replace("chat/", "chat")).error == (404, "NOT_FOUND")
