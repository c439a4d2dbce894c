"""The OpenAPI document, read off the structs and the routes."""

import functools
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Annotated, Any, Final, get_args, get_origin

from msgspec import Meta, Struct

from sessionary import errors, limits
from sessionary.errors import SessionaryError
from sessionary.http import health
from sessionary.http.paths import EXTENSION, SESSION
from sessionary.http.replies import Reply, json_reply
from sessionary.http.routes import ROUTES, Route
from sessionary.http.schemas import (
    JsonSchema,
    name_of,
    parameter,
    prose,
    query_parameters,
    reference,
    schema_of,
    schemas,
)
from sessionary.model import ExtendSession, Health, Organisation, Problem, SessionId

PATH: Final = b"/openapi.json"

_BASE: Final = "/api/v3/organizations/{organisation}"
_TAG: Final = "AI Sessions"
_SERVER_TAG: Final = "Server"
_SECURITY: Final = "BearerAuth"
_JSON: Final = "application/json"
_PROBLEM_JSON: Final = "application/problem+json"

_DESCRIPTION: Final = f"""\
Keeps the conversations people have with AI applications: a session has messages, totals, metadata and an expiry, and \
belongs to one organisation.

- `/api/v3/organisations/…` is served exactly as `/api/v3/organizations/…` is, and `HEAD` wherever `GET` is.
- Create, update and extend answer in camelCase, list and get in snake_case.
- Null in an optional member counts as absent; unknown members and query parameters are ignored.
- A body is JSON in UTF-8 (`application/json`, any `+json`, or without a type), at most {limits.BODY_BYTES_MAX} bytes \
and {limits.NESTING_MAX} levels deep, without duplicate keys; integers lie within -2^63 and 2^64-1.
- A session holds at most {limits.MESSAGES_PER_SESSION_MAX} messages and {limits.SESSION_BYTES_MAX} bytes of them.
- The query string takes at most {limits.QUERY_BYTES_MAX} bytes, all headers together {limits.HEADERS_BYTES_MAX}. A \
parameter that is repeated or empty is refused.
- An expired session is gone in the same instant. What is gone, never was or belongs to another organisation is \
answered alike.
"""

_SAID: Final = {
    "create_session": ("Begin a session", "It lives for `expirationMinutes` from now."),
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
        f"Extensions add up, to {limits.EXPIRY_HORIZON_DAYS_DEFAULT} days ahead of now unless the operator says more.",
    ),
    "delete_session": ("Delete a session", "It and its messages are gone for good."),
}

Failures = tuple[type[SessionaryError], ...]

_ALWAYS: Final[Failures] = (
    errors.Unauthenticated,
    errors.Forbidden,
    errors.ScopeMissing,
    errors.NotFound,
    errors.MethodNotAllowed,
    errors.QueryTooLong,
    errors.HeadersTooLarge,
    errors.SessionaryError,
    errors.Overloaded,
    errors.StoreUnavailable,
)
_OF_BODIES: Final[Failures] = (
    errors.InvalidJson,
    errors.InvalidRequest,
    errors.RequestTimeout,
    errors.BodyTooLarge,
    errors.UnsupportedMediaType,
)
_OF_OPERATIONS: Final[dict[str, Failures]] = {
    "create_session": (errors.MetadataTooLarge, errors.SessionFull),
    "list_sessions": (errors.InvalidParameter, errors.InvalidCursor),
    "get_session": (errors.InvalidParameter,),
    "update_session": (errors.MetadataTooLarge, errors.TotalTooLarge, errors.SessionFull),
    "extend_session": (errors.ExpiryTooFar,),
    "delete_session": (),
}

_HEADERS: Final[dict[str, JsonSchema]] = {
    "X-Request-Id": {
        "description": "Names this exchange in the server's log: the caller's own `X-Request-Id`, if it has this form.",
        "required": True,
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": limits.REQUEST_ID_LENGTH_MAX,
            "pattern": "^[A-Za-z0-9._-]+$",
        },
    },
    "Link": {
        "description": 'The next page, relative, as `rel="next"`; absent from the last one.',
        "schema": {"type": "string", "pattern": '^<[^<>]+>; rel="next"$'},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "required": True,
        "schema": {"type": "string", "const": "Bearer"},
    },
    "Allow": {
        "description": "The methods served at this path.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Z]+(, [A-Z]+)*$"},
    },
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
}
_HEADERS_BY_STATUS: Final = {401: ("WWW-Authenticate",), 405: ("Allow",), 503: ("Retry-After",)}


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
            "headers": _HEADERS,
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
    if route.takes_body:
        operation["requestBody"] = _request_body(route.takes)
    elif route.takes is not None:
        operation["parameters"] = query_parameters(route.takes)
    operation["responses"] = {str(route.status): _success(route)} | _failures(_failures_of(route))
    return operation


def _request_body(kind: type[Struct]) -> JsonSchema:
    if kind is not ExtendSession:
        return {"required": True, "content": {_JSON: {"schema": reference(name_of(kind))}}}
    # The official clients also send it empty and as null.
    schema = {"anyOf": [reference(name_of(kind)), {"type": "null"}]}
    return {"required": False, "content": {_JSON: {"schema": schema}}}


def _success(route: Route) -> JsonSchema:
    if get_origin(route.answers) is list:
        (kind,) = get_args(route.answers)
        schema = {"type": "array", "maxItems": limits.PAGE_LIMIT_MAX, "items": reference(name_of(kind))}
        return _answer(schema, "A page of sessions.", ("Link",))
    answer = _answer(reference(name_of(route.answers)), prose(route.answers.__doc__))
    return answer | {"links": _links()} if route.name == "create_session" else answer


def _links() -> JsonSchema:
    parameters = {"organisation": "$request.path.organisation", "sessionId": "$response.body#/sessionId"}
    return {
        route.operation_id: {"operationId": route.operation_id, "parameters": parameters}
        for route in ROUTES
        if _names_a_session(route.path)
    }


def _answer(schema: JsonSchema, description: str, headers: Iterable[str] = (), media_type: str = _JSON) -> JsonSchema:
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *headers)},
        "content": {media_type: {"schema": schema}},
    }


def _failures_of(route: Route) -> Failures:
    of_body = _OF_BODIES if route.takes_body else ()
    of_session = (errors.SessionNotFound,) if _names_a_session(route.path) else ()
    return _ALWAYS + of_body + of_session + _OF_OPERATIONS[route.name]


def _failures(failures: Sequence[type[SessionaryError]]) -> dict[str, JsonSchema]:
    statuses = sorted({failure.status for failure in failures})
    return {
        str(status): _failure(status, [failure for failure in failures if failure.status == status])
        for status in statuses
    }


def _failure(status: int, failures: Sequence[type[SessionaryError]]) -> JsonSchema:
    said = [f"`{failure.code}`: {prose(failure.__doc__ or '').partition(chr(10))[0]}" for failure in failures]
    schema = {
        "allOf": [
            reference(name_of(Problem)),
            {"properties": {"status": {"const": status}, "code": {"enum": [failure.code for failure in failures]}}},
        ]
    }
    return _answer(schema, "\n\n".join(said), _HEADERS_BY_STATUS.get(status, ()), _PROBLEM_JSON)


def _server_paths() -> dict[str, JsonSchema]:
    plain = (errors.MethodNotAllowed, errors.SessionaryError)
    asking = (*plain, errors.Overloaded, errors.StoreUnavailable)
    healthy = reference(name_of(Health))
    return {
        health.LIVE.decode(): _server_path("checkLiveness", "Say whether the process lives", healthy, plain),
        health.READY.decode(): _server_path("checkReadiness", "Say whether requests can be served", healthy, asking),
        PATH.decode(): _server_path("getOpenAPI", "Get this document", {"type": "object"}, plain),
    }


def _server_path(operation_id: str, summary: str, schema: JsonSchema, failures: Failures) -> JsonSchema:
    operation = {
        "operationId": operation_id,
        "tags": [_SERVER_TAG],
        "summary": summary,
        "security": [],
        "responses": {"200": _answer(schema, "It is so.")} | _failures(failures),
    }
    return {"get": operation}
