"""The OpenAPI document: complete, equal to the official API, with every bound, and followed by the server."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import quantcdn
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel
from quantcdn.api.ai_sessions_api import AISessionsApi

from sessionary import constants, errors
from sessionary.server.http.openapi.document import document
from sessionary.server.http.openapi.schemas import MESSAGE_NAMES, NAMES
from sessionary.server.http.routes import ROUTES, Route
from tests.harness.server import ServerProcess, run_sessionary
from tests.http.callers import JSON, Caller, Response, as_json, message, unknown_id

DOCUMENT = document()
COLLECTION = "/api/v3/organizations/{organisation}/ai/sessions"
SESSION = f"{COLLECTION}/{{sessionId}}"
# operationId, method, path, status, request and response as the documented API has them.
OFFICIAL_OPERATIONS = [
    ("createAISession", "post", COLLECTION, "201", "CreateAISessionRequest", "CreateAISession201Response"),
    ("listAISessions", "get", COLLECTION, "200", None, "ListAISessions200ResponseInner"),
    ("getAISession", "get", SESSION, "200", None, "GetAISession200Response"),
    ("updateAISession", "put", SESSION, "200", "UpdateAISessionRequest", "UpdateAISession200Response"),
    ("extendAISession", "put", f"{SESSION}/extend", "200", "ExtendAISessionRequest", "ExtendAISession200Response"),
    ("deleteAISession", "delete", SESSION, "200", None, "DeleteAISession200Response"),
]
NAME = {"minLength": 1, "maxLength": constants.NAME_LENGTH_MAX}
TITLE = {"minLength": 1, "maxLength": constants.TITLE_LENGTH_MAX}
MESSAGES = {"maxItems": constants.MESSAGES_PER_REQUEST_MAX}
COUNT = {"minimum": 0, "maximum": constants.INT32_MAX}
MINUTES = {"minimum": constants.EXPIRATION_MINUTES_MIN, "maximum": constants.EXPIRATION_MINUTES_MAX, "default": 60}
MORE_MINUTES = {"minimum": constants.ADDITIONAL_MINUTES_MIN, "maximum": constants.ADDITIONAL_MINUTES_MAX, "default": 60}
BOUNDS: dict[str, dict[str, dict[str, int]]] = {
    "CreateAISessionRequest": {
        "userId": NAME,
        "sessionGroup": NAME,
        "expirationMinutes": MINUTES,
        "initialMessages": MESSAGES,
        "title": TITLE,
        "model": NAME,
    },
    "UpdateAISessionRequest": {"newMessages": MESSAGES, "tokensUsed": COUNT, "title": TITLE, "model": NAME},
    "ExtendAISessionRequest": {"additionalMinutes": MORE_MINUTES},
    "UpdateAISession200Response": {"totalMessages": COUNT, "totalTokens": COUNT},
    "ListAISessions200ResponseInner": {"total_messages": COUNT, "total_tokens": COUNT},
    "GetAISession200Response": {"total_messages": COUNT, "total_tokens": COUNT, "messages_offset": COUNT},
}
QUERIES: dict[str, dict[str, dict[str, Any]]] = {
    "listAISessions": {
        "userId": NAME,
        "sessionGroup": NAME,
        "model": NAME,
        "status": {"enum": ["active", "completed"]},
        "limit": {"minimum": 1, "maximum": constants.PAGE_LIMIT_MAX, "default": constants.PAGE_LIMIT_DEFAULT},
        "offset": COUNT | {"default": 0},
        "cursor": {"minLength": 1},
    },
    "getAISession": {"messagesLimit": {"minimum": 1, "maximum": constants.WINDOW_LIMIT_MAX}, "messagesOffset": COUNT},
}
# Bounds that do not concern a caller of the API.
PRIVATE_LIMITS = {
    "AUDIT_RETENTION_MILLISECONDS",
    "BURST_MAX",
    "DERIVED_TITLE_LENGTH_MAX",
    "FRAMING_BYTES_MAX",
    "FRAMING_BYTES_PER_BYTE_MAX",
    "HEAD_BYTES_MAX",
    "HEAD_BYTES_READ_MAX",
    "MILLISECONDS_PER_DAY",
    "MILLISECONDS_PER_MINUTE",
    "IDEMPOTENCY_KEY_RETENTION_MILLISECONDS",
    "REQUESTS_PER_SECOND_MAX",
}
# Errors that no response has: base classes, errors of commands and of our client, and those that are not used yet.
PRIVATE_ERRORS = {
    errors.SessionaryError,
    errors.APIStatusError,
    errors.ConfigurationError,
    errors.ResponseValidationError,
    errors.ClientClosedError,
    errors.InvalidArgumentError,
    errors.ClientUsageError,
    errors.ConflictError,
    errors.APIConnectionError,
    errors.APITimeoutError,
    errors.NotModifiedError,
    errors.TokenNotFoundError,
    errors.RequestTooLargeError,
    errors.UnavailableError,
    errors.MismatchedResponseError,
}


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["license"]["identifier"] == "Apache-2.0"


@pytest.mark.parametrize("given", OFFICIAL_OPERATIONS, ids=lambda given: given[0])
def test_each_operation_is_described_as_in_the_official_api(given: tuple[str, str, str, str, str | None, str]) -> None:
    operation_id, method, path, status, request, response = given
    operation = DOCUMENT["paths"][path][method]
    assert operation["operationId"] == operation_id
    assert operation["tags"] == ["AI Sessions"]
    assert operation["security"] == [{"BearerAuth": []}]
    assert operation["summary"]
    assert [code for code in operation["responses"] if code.startswith("2")] == [status]
    assert _names(operation.get("requestBody", {})) == ({request} if request else set())
    assert _names(operation["responses"][status]["content"]) == {response}


def test_exactly_the_routes_are_described() -> None:
    described = {operation["operationId"]: (path, method) for path, method, operation in _operations()}
    assert len(described) == len(list(_operations()))
    private = {"checkLiveness", "checkReadiness", "getOpenAPI"}
    assert (
        set(described) - private
        == {route.operation_id for route in ROUTES}
        == {given[0] for given in OFFICIAL_OPERATIONS}
    )
    for route in ROUTES:
        assert described[route.operation_id] == (
            f"{COLLECTION.removesuffix('/ai/sessions')}{route.path}",
            route.method.lower(),
        )


def test_the_security_scheme_is_that_of_the_official_api() -> None:
    (scheme,) = DOCUMENT["components"]["securitySchemes"].values()
    assert list(DOCUMENT["components"]["securitySchemes"]) == ["BearerAuth"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
    for path, _, operation in _operations():
        needs_token = operation["security"] != []
        assert needs_token == path.startswith("/api/")
        assert ("401" in operation["responses"]) == ("403" in operation["responses"]) == needs_token


def test_every_type_of_the_official_client_is_a_schema() -> None:
    official = {
        name
        for name, kind in inspect.getmembers(quantcdn, inspect.isclass)
        if issubclass(kind, BaseModel) and "AISession" in name
    }
    assert len(official) == 11
    assert official <= set(DOCUMENT["components"]["schemas"])
    assert official == {*NAMES.values(), *MESSAGE_NAMES.values()} - {"StoredMessage"}


@pytest.mark.parametrize("name", sorted({*NAMES.values(), *MESSAGE_NAMES.values()} - {"StoredMessage"}))
def test_a_type_has_every_member_and_bound_of_the_official_client(name: str) -> None:
    own = _resolved(DOCUMENT["components"]["schemas"][name])
    theirs = getattr(quantcdn, name).model_json_schema(by_alias=True)
    for member, schema in theirs["properties"].items():
        assert member in own["properties"]
        own_member = own["properties"][member]
        given = {key: value for option in [schema, *schema.get("anyOf", [])] for key, value in option.items()}
        for keyword in ("minimum", "maximum", "default"):
            if given.get(keyword) is not None:
                assert own_member[keyword] == given[keyword], (member, keyword)
        kinds = {option["type"] for option in schema.get("anyOf", [schema]) if "type" in option} - {"null"}
        assert kinds <= _types(own_member), member
    assert set(theirs.get("required", [])) <= set(own.get("required", []))


@pytest.mark.parametrize("name", sorted({*NAMES.values(), *MESSAGE_NAMES.values()} - {"StoredMessage"}))
def test_a_type_has_every_enum_value_of_the_official_client(name: str) -> None:
    own = _resolved(DOCUMENT["components"]["schemas"][name])
    for member in ("status", "role"):
        validator = getattr(getattr(quantcdn, name), f"{member}_validate_enum", None)
        if validator is None:
            continue
        (choices,) = re.findall(r"must be one of enum values \((.*)\)", inspect.getsource(validator))
        assert set(re.findall(r"'(\w+)'", choices)) <= set(own["properties"][member]["enum"])


@pytest.mark.parametrize("name", BOUNDS)
def test_a_type_has_every_bound(name: str) -> None:
    members = DOCUMENT["components"]["schemas"][name]["properties"]
    for member, bounds in BOUNDS[name].items():
        assert members[member].items() >= bounds.items(), member
    numbers_and_texts = {
        member for member, schema in members.items() if {"minimum", "maximum", "maxLength", "maxItems"} & set(schema)
    }
    assert numbers_and_texts - {"metadata"} == set(BOUNDS[name])


@pytest.mark.parametrize("operation_id", QUERIES)
def test_a_query_has_every_bound(operation_id: str) -> None:
    (operation,) = (operation for _, _, operation in _operations() if operation["operationId"] == operation_id)
    parameters = {parameter["name"]: parameter for parameter in operation["parameters"] if parameter["in"] == "query"}
    assert set(parameters) == set(QUERIES[operation_id])
    for name, bounds in QUERIES[operation_id].items():
        assert parameters[name]["schema"].items() >= bounds.items(), name
        assert not parameters[name]["required"]
        assert "null" not in _types(parameters[name]["schema"])


def test_a_list_has_every_parameter_of_the_official_client() -> None:
    arguments = inspect.signature(AISessionsApi.list_ai_sessions).parameters
    parameters = {_camel(name) for name in arguments if not name.startswith("_")} - {"self", "organisation"}
    assert parameters <= set(QUERIES["listAISessions"])


def test_each_operation_has_its_header_parameters() -> None:
    conditions = {
        operation["operationId"]: {one["name"]: one for one in operation.get("parameters", []) if one["in"] == "header"}
        for _, _, operation in _operations()
    }
    for operation_id, named in conditions.items():
        assert not any(parameter["required"] for parameter in named.values()), operation_id
    assert {operation_id: set(named) for operation_id, named in conditions.items() if named} == {
        "createAISession": {"Prefer", "Idempotency-Key"},
        "listAISessions": {"Prefer"},
        "getAISession": {"Prefer", "If-Match", "If-None-Match"},
        "updateAISession": {"Prefer", "Idempotency-Key", "If-Match", "If-None-Match"},
        "extendAISession": {"Prefer", "Idempotency-Key", "If-Match", "If-None-Match"},
        "deleteAISession": {"Prefer", "Idempotency-Key", "If-Match", "If-None-Match"},
    }


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "Idempotency-Key",
            ["simple", '"simple"', r'"a \"b\" \\"', '"two words"', "x" * 255],
            ["", '""', "a,b", '"a', "x" * 256],
        ),
        ("If-Match", ["*", '"1"', 'W/"1"', '""', '"1", "2"', ',"1",,"2",'], ["", "1", '"1', '*, "1"', ","]),
        ("If-None-Match", ["*", '"1"', 'W/"1"', '"1", W/"2"'], ["", "1", '"1" "2"']),
    ],
)
def test_a_header_parameter_has_the_pattern_that_the_server_accepts(name: str, good: list[str], bad: list[str]) -> None:
    schemas = [
        parameter["schema"]
        for _, _, operation in _operations()
        for parameter in operation.get("parameters", [])
        if parameter["name"] == name
    ]
    validator = _validator(schemas[0])
    assert [text for text in good if not validator.is_valid(text)] == []
    assert [text for text in bad if validator.is_valid(text)] == []


def test_path_parameters_have_their_bounds() -> None:
    for path in (COLLECTION, SESSION, f"{SESSION}/extend"):
        parameters = {parameter["name"]: parameter for parameter in DOCUMENT["paths"][path]["parameters"]}
        assert set(parameters) == set(re.findall(r"{(\w+)}", path))
        assert all(parameter["required"] for parameter in parameters.values())
        organisation = parameters["organisation"]["schema"]
        assert (organisation["minLength"], organisation["maxLength"]) == (1, constants.ORGANISATION_LENGTH_MAX)
        assert path == COLLECTION or parameters["sessionId"]["schema"]["format"] == "uuid"


def test_every_public_limit_is_in_the_document() -> None:
    numbers = {int(number) for number in re.findall(r"\d+", json.dumps(DOCUMENT, ensure_ascii=False))}
    public = {name: value for name, value in vars(constants).items() if name.isupper()}.keys() - PRIVATE_LIMITS
    powers = {"INTEGER_MIN": "-2^63", "INTEGER_MAX": "2^64-1"}
    assert all(power in DOCUMENT["info"]["description"] for power in powers.values())
    assert {name for name in public - powers.keys() if getattr(constants, name) not in numbers} == set()


def test_every_error_is_in_the_document() -> None:
    classes = {
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SessionaryError)
    }
    described = {(int(status), code) for _, _, operation in _operations() for status, code in _errors(operation)}
    assert described == {(kind.status, kind.code) for kind in classes - PRIVATE_ERRORS}


def test_every_error_is_a_problem_and_every_response_has_its_headers() -> None:
    more = {
        "401": {"WWW-Authenticate"},
        "405": {"Allow"},
        "412": {"ETag"},
    }
    versioned = {"createAISession", "getAISession", "updateAISession", "extendAISession"}
    for _, _, operation in _operations():
        for status, response in operation["responses"].items():
            headers = {name for name in response["headers"] if _resolved(response["headers"][name]).get("required")}
            if status >= "400":
                tagged = operation["operationId"] not in {"createAISession", "listAISessions"}
                assert headers == {"X-Request-Id"} | (more.get(status, set()) if tagged or status != "412" else set())
                assert list(response["content"]) == ["application/problem+json"]
                assert _names(response["content"]) == {"Problem"}
            else:
                assert headers == {"X-Request-Id"} | ({"ETag"} if operation["operationId"] in versioned else set())
                assert ("content" in response) == (status != "304")


def test_every_pattern_is_valid_in_json_schema() -> None:
    patterns = set(re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(DOCUMENT)))
    assert patterns
    assert not [pattern for pattern in patterns if re.search(r"\(\?(?!:)", json.loads(pattern))]
    user = _validator({"$ref": "#/components/schemas/CreateAISessionRequest/properties/userId"})
    assert all(user.is_valid(text) for text in ("a", "ä b", "\U0001f600", "x" * constants.NAME_LENGTH_MAX))
    assert not any(user.is_valid(text) for text in ("", "a\n", "\x00", "a\x7f", "\x85b", "x" * 257, None, 1))


@pytest.mark.parametrize("name", sorted(MESSAGE_NAMES.values()))
def test_a_message_needs_role_and_content_or_a_substitute(name: str) -> None:
    validator = _validator({"$ref": f"#/components/schemas/{name}"})
    taken = {"created_at": "2026-11-22T22:09:00.123Z"} if name == "StoredMessage" else {}
    good: list[dict[str, Any]] = [
        message(),
        message(""),
        message([]),
        message([{"type": "text", "text": "Hello"}], "developer", id="m-1"),
        message(None, "assistant", tool_calls=[{}]),
        {"role": "assistant", "tool_calls": [{"id": 1}]},
        message("both", "assistant", tool_calls=[]),
        {"type": "function_call", "arguments": "{}"},
        {"type": "reasoning", "content": {"any": ["thing"]}},
        {"type": "message", "role": "user", "content": 5},
        {"type": "event", "role": None, "content": None},
        message("Hello", type=""),
        message("Hello", type=5),
    ]
    bad: list[dict[str, Any]] = [
        {},
        {"content": "Hello"},
        {"content": "Hello", "type": ""},
        {"content": "Hello", "type": 5},
        {"type": "message", "role": "robot"},
        {"role": "user", "type": ""},
        {"role": None, "content": "Hello"},
        {"role": "user"},
        message(None),
        message(None, "assistant", tool_calls=[]),
        message(None, "assistant", tool_calls={}),
        message("Hello", "robot"),
        message(1),
        message(["Hello"]),
    ]
    assert [one for one in good if not validator.is_valid(one | taken)] == []
    assert [one for one in bad if validator.is_valid(one | taken)] == []


def test_requests_of_the_official_clients_are_valid() -> None:
    create = _validator({"$ref": "#/components/schemas/CreateAISessionRequest"})
    assert create.is_valid({"userId": "someone", "metadata": []})
    assert create.is_valid({"userId": "someone", "metadata": None, "initialMessages": None, "title": None})
    assert not create.is_valid({"userId": "someone", "metadata": [1]})
    assert not create.is_valid({"metadata": {}})
    body = DOCUMENT["paths"][f"{SESSION}/extend"]["put"]["requestBody"]
    extend = _validator(body["content"]["application/json"]["schema"])
    assert not body["required"]
    sent: list[Any] = [None, {}, {"additionalMinutes": 60}]
    assert all(extend.is_valid(one) for one in sent)
    refused: list[Any] = [[], {"additionalMinutes": 0}, {"additionalMinutes": 1441}]
    assert not any(extend.is_valid(one) for one in refused)


def test_a_created_session_links_to_its_operations() -> None:
    links = DOCUMENT["paths"][COLLECTION]["post"]["responses"]["201"]["links"]
    assert set(links) == {given[0] for given in OFFICIAL_OPERATIONS if given[2] != COLLECTION}
    assert all(set(link["parameters"]) == {"organisation", "sessionId"} for link in links.values())


def test_the_printed_and_the_served_document_are_equal(caller: Caller) -> None:
    printed = run_sessionary("openapi")
    assert json.loads(printed.stdout) == DOCUMENT
    with caller.with_token(None) as anonymous:
        served = anonymous.send("GET", "/openapi.json")
    assert (served.status, served.headers["content-type"]) == (200, "application/json")
    assert served.json == DOCUMENT
    assert DOCUMENT["servers"] == [{"url": "/"}]


def test_the_document_contains_the_path_prefix(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/store.db", "--path-prefix", "/chat") as server:
        for path in ("/chat/openapi.json", "/openapi.json"):
            with Caller(server.port, None, "demo") as caller:
                assert caller.send("GET", path).json["servers"] == [{"url": "/chat"}]


def test_every_response_matches_the_document(caller: Caller, server: ServerProcess) -> None:
    messages = [
        message("Hello", metadata={"a": [1, 2.5, None]}),
        message(None, "assistant", tool_calls=[{"id": "t"}]),
        message([{"text": "hi"}]),
    ]
    session_id = caller.new_session(initialMessages=messages, metadata={"a": {"b": 1}}, sessionGroup="g", model="m")
    caller.new_session(userId="someone else")
    responses_by_operation = {
        "create_session": [
            caller.create(title="A title"),
            caller.create_raw(b"{"),
            caller.create(userId=""),
            caller.create(metadata={"a": "x" * constants.METADATA_BYTES_MAX}),
            caller.send("POST", caller.sessions, b"x", {"Content-Type": "text/plain"}),
            caller.create(user_id="misspelt"),
            caller.create(createdAt="2020-01-01T00:00:00Z"),
            caller.send("POST", caller.sessions, b'{"userId":"a"}', {"If-None-Match": "*"}),
            _create_with(None, caller),
            _create_with(server.create_token("elsewhere"), caller),
            _create_with(server.create_token(caller.organisation, scopes=["sessions:read"]), caller),
        ],
        "list_sessions": [
            caller.list(),
            caller.list("?limit=1"),
            caller.list("?userId=unknown"),
            caller.list("?limit=0"),
            caller.send("GET", caller.sessions, headers={"Prefer": "handling=strict"}),
            caller.send("GET", caller.sessions, headers={"If-None-Match": "*"}),
            caller.send("GET", caller.sessions, headers={"If-Match": '"1"'}),
            caller.list("?cursor=x"),
            caller.list(f"?x={'x' * constants.QUERY_BYTES_MAX}"),
            caller.send("GET", caller.sessions, headers={"X": "x" * constants.HEADERS_BYTES_MAX}),
        ],
        "get_session": [
            caller.get(session_id),
            caller.get(session_id, "?messagesLimit=1"),
            caller.send("GET", f"{caller.sessions}/{session_id}", headers={"If-None-Match": "*"}),
            caller.send("GET", f"{caller.sessions}/{session_id}", headers={"If-None-Match": "1"}),
            caller.get(session_id, "?messagesLimit=no"),
            caller.get(unknown_id()),
            caller.get("no-uuid"),
            caller.send("PATCH", f"{caller.sessions}/{session_id}"),
        ],
        "update_session": [
            caller.update(session_id, newMessages=messages, tokensUsed=5),
            caller.update(session_id, status="completed"),
            caller.update(session_id),
            _update(caller, session_id, {"If-Match": '"1000"'}),
            _update(caller, session_id, {"Idempotency-Key": "key"}, tokensUsed=1),
            _update(caller, session_id, {"Idempotency-Key": "key"}, tokensUsed=1),
            _update(caller, session_id, {"Idempotency-Key": "key"}, tokensUsed=2),
            caller.update(session_id, tokensUsed=constants.INT32_MAX),
            caller.update(unknown_id()),
        ],
        "extend_session": [
            caller.extend(session_id),
            caller.extend_raw(session_id, None, {}),
            caller.extend(session_id, additionalMinutes=0),
            *[caller.extend(session_id, additionalMinutes=constants.ADDITIONAL_MINUTES_MAX) for _ in range(30)][-1:],
            caller.send("PUT", f"{caller.sessions}/{session_id}/extend", as_json("x" * constants.BODY_BYTES_MAX), JSON),
        ],
        "delete_session": [caller.delete(session_id), caller.delete(session_id)],
    }
    for route in ROUTES:
        for response in responses_by_operation[route.name]:
            _check(route, response)
    errors_seen = {
        (response.status, response.json["code"])
        for responses in responses_by_operation.values()
        for response in responses
        if response.status >= 400
    }
    assert len(errors_seen) == 20, errors_seen


def _create_with(token: str | None, caller: Caller) -> Response:
    with caller.with_token(token) as anonymous:
        return anonymous.create()


def _update(caller: Caller, session_id: str, headers: dict[str, str], **fields: Any) -> Response:
    return caller.send("PUT", f"{caller.sessions}/{session_id}", as_json(fields), JSON | headers)


def _check(route: Route, response: Response) -> None:
    """Check a response against the document, including that it has no unknown members."""
    operation = DOCUMENT["paths"][f"{COLLECTION.removesuffix('/ai/sessions')}{route.path}"][route.method.lower()]
    described = operation["responses"][str(response.status)]
    for name, reference in described["headers"].items():
        header = _resolved(reference)
        text = response.headers.get(name.lower())
        assert text is not None or not header.get("required"), name
        if text is not None:
            value = int(text) if header["schema"]["type"] == "integer" else text
            _validator(header["schema"]).validate(value)
    if response.status == 304:
        assert response.body == b""
        return
    ((media_type, content),) = described["content"].items()
    assert response.headers["content-type"] == media_type
    _validator(content["schema"]).validate(response.json)
    (name,) = _names(content)
    for answered in response.json if isinstance(response.json, list) else [response.json]:
        assert set(answered) <= set(DOCUMENT["components"]["schemas"][name]["properties"])


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def _errors(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for status, response in operation["responses"].items():
        if status >= "400":
            (_, restrictions) = response["content"]["application/problem+json"]["schema"]["allOf"]
            assert restrictions["properties"]["status"] == {"const": int(status)}
            yield from ((status, code) for code in restrictions["properties"]["code"]["enum"])


def _names(part: object) -> set[str]:
    """Return the names of the components that a part of the document refers to."""
    return set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(part)))


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    target: Any = DOCUMENT
    for step in part["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return _resolved(target)


def _types(schema: dict[str, Any]) -> set[str]:
    options = [schema, *schema.get("anyOf", [])]
    named = [option["type"] for option in options if "type" in option]
    return {one for names in named for one in ([names] if isinstance(names, str) else names)}


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(word.capitalize() for word in more)


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {"components": DOCUMENT["components"], "allOf": [schema]}, validate_formats=True
    )
