"""The OpenAPI document, read off the structs and the routes."""

import functools
from importlib.metadata import version
from typing import Annotated, Any, Final, get_args, get_origin

from msgspec import Meta, Struct

from sessionary import constants, errors
from sessionary.models import IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, ExtendSession, Health, Organisation, SessionId
from sessionary.server.http import health
from sessionary.server.http.openapi.responses import HEADERS, JSON, Failures, failures, failures_of, response
from sessionary.server.http.openapi.schemas import (
    JsonSchema,
    name_of,
    parameter,
    prose,
    query_parameters,
    reference,
    schema_of,
    schemas,
)
from sessionary.server.http.paths import EXTENSION, SESSION
from sessionary.server.http.preconditions import KEY_FORM, TAGS_FORM
from sessionary.server.http.responses import Reply, json_reply
from sessionary.server.http.routes import ROUTES, Route
from sessionary.server.http.unknown_names import UNKNOWN_MAX

PATH: Final = b"/openapi.json"

_BASE: Final = "/api/v3/organizations/{organisation}"
_TAG: Final = "AI Sessions"
_SERVER_TAG: Final = "Server"
_SECURITY: Final = "BearerAuth"

_DESCRIPTION: Final = f"""\
Keeps the conversations people have with AI applications: a session has messages, totals, metadata and an expiry, and \
belongs to one organisation.

- `/api/v3/organisations/…` is served exactly as `/api/v3/organizations/…` is, and `HEAD` wherever `GET` is.
- Create, update and extend answer in camelCase, list and get in snake_case.
- Null in an optional member counts as absent. Unknown members and query parameters are ignored, unless they are a \
known name misspelt, or there are more than {UNKNOWN_MAX} of them: then the answer is 400 `UNKNOWN_NAME`. With \
`Prefer: handling=strict` every unknown name is refused.
- A body is JSON in UTF-8 (`application/json`, any `+json`, or without a type), at most {constants.BODY_BYTES_MAX} \
bytes, {constants.VALUES_MAX} values and {constants.NESTING_MAX} levels deep, without duplicate keys; \
integers lie within -2^63 and 2^64-1.
- A session holds at most {constants.MESSAGES_PER_SESSION_MAX} messages and {constants.SESSION_BYTES_MAX} bytes of them.
- The query string takes at most {constants.QUERY_BYTES_MAX} bytes, all headers together \
{constants.HEADERS_BYTES_MAX}, of which there are at most {constants.HEADERS_MAX}. A parameter that is repeated \
or empty is refused.
- An expired session is gone in the same instant. What is gone, never was or belongs to another organisation is \
answered alike.
"""

_SAID: Final = {
    "create_session": (
        "Begin a session",
        "It lives for `expirationMinutes` from now, also if it is imported and began long ago.",
    ),
    "list_sessions": (
        "List sessions, newest first",
        "Only live ones; filters match exactly, all at once. While more follow, the answer links to the next page.",
    ),
    "get_session": (
        "Get a session with its messages",
        "Messages come in append order: all of them, or with `messagesLimit` and `messagesOffset` a window of them.",
    ),
    "update_session": (
        "Update a session",
        "Appends, adds, merges and sets what is given, as one step. An empty object changes nothing.",
    ),
    "extend_session": (
        "Extend a session's expiry",
        f"Extensions add up, to {constants.EXPIRY_HORIZON_DAYS_DEFAULT} days ahead of now by default.",
    ),
    "delete_session": ("Delete a session", "It and its messages are gone for good."),
}


def document(path_prefix: str = "") -> dict[str, Any]:
    """Describe the API in OpenAPI 3.1, as served under a path prefix."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sessionary",
            "version": version("sessionary"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": path_prefix or "/"}],
        "tags": [
            {"name": _TAG, "description": "Conversations and what is known of them."},
            {"name": _SERVER_TAG, "description": "The server itself; no token is needed."},
        ],
        "security": [{_SECURITY: []}],
        "paths": _paths() | _server_paths(),
        "components": {
            "schemas": schemas(),
            "headers": HEADERS,
            "securitySchemes": {
                _SECURITY: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token made by `sessionary tokens create`. Send it as it is, whatever its format.",
                }
            },
        },
    }


@functools.lru_cache(maxsize=8)
def document_reply(path_prefix: str = "") -> Reply:
    """Answer with the document."""
    return json_reply(200, document(path_prefix))


def _paths() -> dict[str, JsonSchema]:
    paths: dict[str, JsonSchema] = {}
    for route in ROUTES:
        path = paths.setdefault(_BASE + route.path, {"parameters": _path_parameters(route.path)})
        path[route.method.lower()] = _operation(route)
    return paths


def _path_parameters(path: str) -> list[JsonSchema]:
    organisation = Annotated[Organisation, Meta(description="The organisation the sessions belong to, by its name.")]
    session_id = Annotated[SessionId, Meta(description="The session's id, in upper or lower case.")]
    named = {"organisation": organisation} | ({"sessionId": session_id} if _names_a_session(path) else {})
    return [parameter(name, "path", schema_of(kind), required=True) for name, kind in named.items()]


def _names_a_session(path: str) -> bool:
    return path in {SESSION, EXTENSION}


def _operation(route: Route) -> JsonSchema:
    summary, description = _SAID[route.name]
    operation: JsonSchema = {
        "operationId": route.operation_id,
        "tags": [_TAG],
        "summary": summary,
        "description": f"{description} Needs the scope `{route.scope}`.",
        "security": [{_SECURITY: []}],
    }
    of_query = query_parameters(route.takes) if route.takes is not None and not route.takes_body else []
    if parameters := of_query + _header_parameters(route):
        operation["parameters"] = parameters
    if route.takes_body:
        operation["requestBody"] = _request_body(route.takes)
    operation["responses"] = _responses(route)
    return operation


def _header_parameters(route: Route) -> list[JsonSchema]:
    conditions = [_IF_MATCH, _IF_NONE_MATCH] if _names_a_session(route.path) else []
    return [_PREFER, *([] if route.method == "GET" else [_REPEATED_AS]), *conditions]


def _header_parameter(name: str, pattern: str, description: str) -> JsonSchema:
    schema = {"type": "string", "pattern": f"^({pattern})$", "description": description}
    return parameter(name, "header", schema, required=False)


_REPEATED_AS: Final = _header_parameter(
    IDEMPOTENCY_KEY,
    KEY_FORM,
    "Names the request, with or without quotes, so that it may be repeated: within "
    f"{constants.IDEMPOTENCY_KEY_KEPT_MILLISECONDS // 3_600_000} hours it has one effect and gets one answer.",
)
_PREFER: Final = _header_parameter(
    "Prefer", ".*", "With `handling=strict` every name that is not known is refused (RFC 7240)."
)
_IF_MATCH: Final = _header_parameter(
    "If-Match",
    rf"\*|{TAGS_FORM}",
    "The versions that the request is meant for, by their `ETag`, or `*` for any. A weak tag matches nothing.",
)
_IF_NONE_MATCH: Final = _header_parameter(
    "If-None-Match",
    rf"\*|{TAGS_FORM}",
    "The versions that a change is not meant for, or that a reader has already, by their `ETag`, or `*` for any.",
)


def _request_body(kind: type[Struct]) -> JsonSchema:
    if kind is not ExtendSession:
        return {"required": True, "content": {JSON: {"schema": reference(name_of(kind))}}}
    # The official clients also send it empty and as null.
    schema = {"anyOf": [reference(name_of(kind)), {"type": "null"}]}
    return {"required": False, "content": {JSON: {"schema": schema}}}


def _responses(route: Route) -> dict[str, JsonSchema]:
    responses = {str(route.status): _success(route)}
    if route.method == "GET":
        tag = ("ETag",) if _names_a_session(route.path) else ()
        responses["304"] = response("The caller has this already, by its own words.", None, tag)
    return responses | failures(route, of_session=_names_a_session(route.path))


def _success(route: Route) -> JsonSchema:
    replayed = () if route.method == "GET" else (IDEMPOTENT_REPLAYED,)
    if get_origin(route.answers) is list:
        (kind,) = get_args(route.answers)
        schema = {"type": "array", "maxItems": constants.PAGE_LIMIT_MAX, "items": reference(name_of(kind))}
        return response("A page of sessions.", schema, ("Link",))
    tag = () if route.method == "DELETE" else ("ETag",)
    answer = response(prose(route.answers.__doc__), reference(name_of(route.answers)), tag + replayed)
    return answer | {"links": _links()} if route.name == "create_session" else answer


def _links() -> JsonSchema:
    parameters = {"organisation": "$request.path.organisation", "sessionId": "$response.body#/sessionId"}
    return {
        route.operation_id: {"operationId": route.operation_id, "parameters": parameters}
        for route in ROUTES
        if _names_a_session(route.path)
    }


def _server_paths() -> dict[str, JsonSchema]:
    plain = (errors.MethodNotAllowedError, errors.SessionaryError)
    asking = (*plain, errors.OverloadedError, errors.StoreUnavailableError)
    healthy = reference(name_of(Health))
    return {
        health.LIVE.decode(): _server_path("checkLiveness", "Say whether the process lives", healthy, plain),
        health.READY.decode(): _server_path("checkReadiness", "Say whether requests can be served", healthy, asking),
        PATH.decode(): _server_path("getOpenAPI", "Get this document", {"type": "object"}, plain),
    }


def _server_path(operation_id: str, summary: str, schema: JsonSchema, possible: Failures) -> JsonSchema:
    operation = {
        "operationId": operation_id,
        "tags": [_SERVER_TAG],
        "summary": summary,
        "security": [],
        "responses": {"200": response("It is so.", schema)} | failures_of(possible),
    }
    return {"get": operation}
