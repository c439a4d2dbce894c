"""The OpenAPI document, generated from the structs and the routes."""

import functools
from importlib.metadata import version
from typing import Annotated, Any, Final, get_args, get_origin

from msgspec import Meta, Struct

from sessionary import constants, errors
from sessionary.models import IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, ExtendSession, Health, Organisation, SessionId
from sessionary.server.http import health
from sessionary.server.http.idempotency import KEY_PATTERN
from sessionary.server.http.openapi.responses import (
    HEADERS,
    JSON,
    Errors,
    describe_errors,
    describe_response,
    operation_errors,
)
from sessionary.server.http.openapi.schemas import (
    JsonSchema,
    component_name,
    describe_parameter,
    query_parameters,
    reference,
    schema_of,
    schemas,
    to_markdown,
)
from sessionary.server.http.paths import EXTENSION, SESSION
from sessionary.server.http.preconditions import ETAGS_PATTERN
from sessionary.server.http.responses import Response, json_response
from sessionary.server.http.routes import ROUTES, Route
from sessionary.server.http.unknown_names import UNKNOWN_MAX

PATH: Final = b"/openapi.json"

_BASE: Final = "/api/v3/organizations/{organisation}"
_TAG: Final = "AI Sessions"
_SERVER_TAG: Final = "Server"
_SECURITY: Final = "BearerAuth"

_DESCRIPTION: Final = f"""\
Stores the conversations of AI applications. A session has messages, totals, metadata and an expiry, and belongs to \
one organisation.

- `/api/v3/organisations/…` works exactly like `/api/v3/organizations/…`, and `HEAD` works wherever `GET` does.
- Create, update and extend respond in camelCase, list and get in snake_case.
- Null in an optional member counts as absent. Unknown members and query parameters are ignored, unless they are a \
known name misspelt, or there are more than {UNKNOWN_MAX} of them: then the response is 400 `UNKNOWN_NAME`. With \
`Prefer: handling=strict` every unknown name is refused.
- A body is JSON in UTF-8 (`application/json`, any `+json`, or without a type), at most {constants.BODY_BYTES_MAX} \
bytes, {constants.VALUES_MAX} values and {constants.NESTING_MAX} levels deep, without duplicate keys; \
integers are between -2^63 and 2^64-1.
- A session holds at most {constants.MESSAGES_PER_SESSION_MAX} messages and {constants.SESSION_BYTES_MAX} bytes of them.
- The query string has at most {constants.QUERY_BYTES_MAX} bytes, all headers together \
{constants.HEADERS_BYTES_MAX}, of which there are at most {constants.HEADERS_MAX}. A parameter that is repeated \
or empty is refused.
- A session cannot be found from the moment it expires. The response is the same for a session that expired, was \
deleted, never existed or belongs to another organisation.
"""

_SUMMARIES_AND_DESCRIPTIONS: Final = {
    "create_session": (
        "Create a session",
        "It expires `expirationMinutes` from now, also if it is imported and was created long ago.",
    ),
    "list_sessions": (
        "List sessions, newest first",
        (
            "Expired sessions are not listed. Filters match exactly and are combined with *and*. The response links to "
            "the next page if there is one."
        ),
    ),
    "get_session": (
        "Get a session with its messages",
        "Messages come in append order: all of them, or a window with `messagesLimit` and `messagesOffset`.",
    ),
    "update_session": (
        "Update a session",
        (
            "Appends messages, adds tokens, merges metadata and sets the other members that are given, in one atomic "
            "step. An empty object changes nothing."
        ),
    ),
    "extend_session": (
        "Extend a session's expiry",
        f"Extensions add up, to at most {constants.EXPIRY_HORIZON_DAYS_DEFAULT} days from now by default.",
    ),
    "delete_session": ("Delete a session", "The session and its messages are deleted permanently."),
}


def document(path_prefix: str = "") -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the API under a path prefix."""
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
            {"name": _TAG, "description": "Conversations, their messages and their metadata."},
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
def document_response(path_prefix: str = "") -> Response:
    """Return the response with the document."""
    return json_response(200, document(path_prefix))


def _paths() -> dict[str, JsonSchema]:
    paths: dict[str, JsonSchema] = {}
    for route in ROUTES:
        path = paths.setdefault(_BASE + route.path, {"parameters": _path_parameters(route.path)})
        path[route.method.lower()] = _operation(route)
    return paths


def _path_parameters(path: str) -> list[JsonSchema]:
    organisation = Annotated[Organisation, Meta(description="The organisation the sessions belong to, by its name.")]
    session_id = Annotated[SessionId, Meta(description="The session's id, in upper or lower case.")]
    types = {"organisation": organisation} | ({"sessionId": session_id} if _has_session_id(path) else {})
    return [describe_parameter(name, "path", schema_of(type_), required=True) for name, type_ in types.items()]


def _has_session_id(path: str) -> bool:
    return path in {SESSION, EXTENSION}


def _operation(route: Route) -> JsonSchema:
    summary, description = _SUMMARIES_AND_DESCRIPTIONS[route.name]
    operation: JsonSchema = {
        "operationId": route.operation_id,
        "tags": [_TAG],
        "summary": summary,
        "description": f"{description} Needs the scope `{route.scope}`.",
        "security": [{_SECURITY: []}],
    }
    in_query = query_parameters(route.request_type) if route.request_type is not None and not route.has_body else []
    if parameters := in_query + _header_parameters(route):
        operation["parameters"] = parameters
    if route.has_body:
        operation["requestBody"] = _request_body(route.request_type)
    operation["responses"] = _responses(route)
    return operation


def _header_parameters(route: Route) -> list[JsonSchema]:
    preconditions = [_IF_MATCH, _IF_NONE_MATCH] if _has_session_id(route.path) else []
    return [_PREFER, *([] if route.method == "GET" else [_IDEMPOTENCY_KEY]), *preconditions]


def _header_parameter(name: str, pattern: str, description: str) -> JsonSchema:
    schema = {"type": "string", "pattern": f"^({pattern})$", "description": description}
    return describe_parameter(name, "header", schema, required=False)


_IDEMPOTENCY_KEY: Final = _header_parameter(
    IDEMPOTENCY_KEY,
    KEY_PATTERN,
    "Makes it safe to repeat the request: with the same key it has one effect and gets the same response, for "
    f"{constants.IDEMPOTENCY_KEY_RETENTION_MILLISECONDS // 3_600_000} hours. With or without quotes.",
)
_PREFER: Final = _header_parameter("Prefer", ".*", "With `handling=strict` every unknown name is refused (RFC 7240).")
_IF_MATCH: Final = _header_parameter(
    "If-Match",
    rf"\*|{ETAGS_PATTERN}",
    "The versions of which the session must have one, by their `ETag`, or `*` for any. A weak tag matches nothing.",
)
_IF_NONE_MATCH: Final = _header_parameter(
    "If-None-Match",
    rf"\*|{ETAGS_PATTERN}",
    "The versions that a change must not be applied to, or that a reader has already, by their `ETag`, or `*` for any.",
)


def _request_body(struct: type[Struct]) -> JsonSchema:
    if struct is not ExtendSession:
        return {"required": True, "content": {JSON: {"schema": reference(component_name(struct))}}}
    # The official clients also send an empty body and null.
    schema = {"anyOf": [reference(component_name(struct)), {"type": "null"}]}
    return {"required": False, "content": {JSON: {"schema": schema}}}


def _responses(route: Route) -> dict[str, JsonSchema]:
    responses = {str(route.status): _success(route)}
    if route.method == "GET":
        headers = ("ETag",) if _has_session_id(route.path) else ()
        responses["304"] = describe_response("Not modified: the caller has this version already.", None, headers)
    return responses | operation_errors(route, has_session_id=_has_session_id(route.path))


def _success(route: Route) -> JsonSchema:
    replayed = () if route.method == "GET" else (IDEMPOTENT_REPLAYED,)
    type_ = route.response_type
    if get_origin(type_) is list:
        (item,) = get_args(type_)
        schema = {"type": "array", "maxItems": constants.PAGE_LIMIT_MAX, "items": reference(component_name(item))}
        return describe_response("A page of sessions.", schema, ("Link",))
    etag = () if route.method == "DELETE" else ("ETag",)
    response = describe_response(to_markdown(type_.__doc__), reference(component_name(type_)), etag + replayed)
    return response | {"links": _links()} if route.name == "create_session" else response


def _links() -> JsonSchema:
    parameters = {"organisation": "$request.path.organisation", "sessionId": "$response.body#/sessionId"}
    return {
        route.operation_id: {"operationId": route.operation_id, "parameters": parameters}
        for route in ROUTES
        if _has_session_id(route.path)
    }


def _server_paths() -> dict[str, JsonSchema]:
    usual = (errors.MethodNotAllowedError, errors.InternalServerError)
    with_store = (*usual, errors.OverloadedError, errors.StoreUnavailableError)
    health_schema = reference(component_name(Health))
    return {
        health.LIVE.decode(): _server_path(
            "checkLiveness", "Check whether the process is running", health_schema, usual
        ),
        health.READY.decode(): _server_path(
            "checkReadiness", "Check whether requests can be served", health_schema, with_store
        ),
        PATH.decode(): _server_path("getOpenAPI", "Get this document", {"type": "object"}, usual),
    }


def _server_path(operation_id: str, summary: str, schema: JsonSchema, possible: Errors) -> JsonSchema:
    operation = {
        "operationId": operation_id,
        "tags": [_SERVER_TAG],
        "summary": summary,
        "security": [],
        "responses": {"200": describe_response("OK", schema)} | describe_errors(possible),
    }
    return {"get": operation}
