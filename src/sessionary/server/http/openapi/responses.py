"""The responses of operations in the OpenAPI document: success, errors and headers."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sessionary import constants, errors
from sessionary.errors import SessionaryError
from sessionary.models import ACCEPT_IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, Problem
from sessionary.server.http.openapi.schemas import JsonSchema, component_name, reference, to_markdown
from sessionary.server.http.routes import Route

JSON: Final = "application/json"
_PROBLEM_JSON: Final = "application/problem+json"

Errors = tuple[type[SessionaryError], ...]

_COMMON_ERRORS: Final[Errors] = (
    errors.AuthenticationError,
    errors.PermissionDeniedError,
    errors.MissingScopeError,
    errors.NotFoundError,
    errors.UnknownNameError,
    errors.MethodNotAllowedError,
    errors.QueryTooLongError,
    errors.HeadersTooLargeError,
    errors.RateLimitError,
    errors.InternalServerError,
    errors.OverloadedError,
    errors.StoreUnavailableError,
    errors.HttpVersionNotSupportedError,
)
_BODY_ERRORS: Final[Errors] = (
    errors.InvalidJsonError,
    errors.InvalidRequestError,
    errors.RequestTimeoutError,
    errors.BodyTooLargeError,
    errors.UnsupportedMediaTypeError,
)
_OPERATION_ERRORS: Final[dict[str, Errors]] = {
    "create_session": (errors.MetadataTooLargeError, errors.SessionFullError, errors.QuotaExceededError),
    "list_sessions": (errors.InvalidParameterError, errors.InvalidCursorError),
    "get_session": (errors.InvalidParameterError,),
    "update_session": (
        errors.MetadataTooLargeError,
        errors.TotalTooLargeError,
        errors.SessionFullError,
        errors.QuotaExceededError,
    ),
    "extend_session": (errors.ExpiryTooFarError,),
    "delete_session": (),
}

_LIMIT: Final = '"(token|organisation)";'


def _header(description: str, *, required: bool = False, **schema: Any) -> JsonSchema:
    header = {"description": description, "schema": {"type": "string", **schema}}
    return header | {"required": True} if required else header


HEADERS: Final[dict[str, JsonSchema]] = {
    "X-Request-Id": _header(
        "The request's id in the server's log: the caller's own `X-Request-Id`, if it has this form.",
        required=True,
        minLength=1,
        maxLength=constants.REQUEST_ID_LENGTH_MAX,
        pattern="^[A-Za-z0-9._-]+$",
    ),
    ACCEPT_IDEMPOTENCY_KEY: _header("Declares that idempotency keys are supported.", const="?1"),
    "Cache-Control": _header(
        "Whether this response may be stored: only one with an `ETag` may, by the caller, which must revalidate it.",
        enum=["no-store", "private, no-cache"],
    ),
    "ETag": _header("The version of the session.", required=True, pattern='^"[1-9][0-9]*"$'),
    IDEMPOTENT_REPLAYED: _header("Present if this response was given before, to the same request.", const="true"),
    "Preference-Applied": _header(
        "Present if every unknown name was refused, as the request preferred.", const="handling=strict"
    ),
    "Link": _header(
        'The relative URL of the next page, with `rel="next"`; absent from the last page.',
        pattern='^<[^<>]+>; rel="next"$',
    ),
    "WWW-Authenticate": _header("How to authenticate.", required=True, const="Bearer"),
    "Allow": _header("The methods served at this path.", required=True, pattern="^[A-Z]+(, [A-Z]+)*$"),
    "Retry-After": _header(
        "After how many seconds to try again. Absent with `QUOTA_EXCEEDED`, and with `STORE_UNAVAILABLE` from a "
        "change without an `Idempotency-Key`: its outcome is unknown, and repeating it might have the effect twice.",
        type="integer",
        minimum=1,
    ),
    "RateLimit": _header(
        "If requests are counted: how many are left (`r`), all of them again in how many seconds (`t`).",
        pattern=f"^{_LIMIT}r=[0-9]+;t=[0-9]+(, {_LIMIT}r=[0-9]+;t=[0-9]+)?$",
    ),
    "RateLimit-Policy": _header(
        "If requests are counted: how many are allowed (`q`) in how many seconds (`w`).",
        pattern=f"^{_LIMIT}q=[0-9]+;w=[0-9]+(, {_LIMIT}q=[0-9]+;w=[0-9]+)?$",
    ),
}
_COMMON_HEADERS: Final = ("X-Request-Id", ACCEPT_IDEMPOTENCY_KEY, "Cache-Control", "Preference-Applied")
_HEADERS_BY_STATUS: Final = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    412: ("ETag",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def describe_response(
    description: str, schema: JsonSchema | None, headers: Iterable[str] = (), media_type: str = JSON
) -> JsonSchema:
    """Describe one response; without a schema it has no body."""
    response: JsonSchema = {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in (*_COMMON_HEADERS, *headers)},
    }
    return response if schema is None else response | {"content": {media_type: {"schema": schema}}}


def operation_errors(route: Route, *, has_session_id: bool) -> dict[str, JsonSchema]:
    """Describe every error response of an operation, by status."""
    possible = [*_COMMON_ERRORS]
    if route.has_body:
        possible += _BODY_ERRORS
    if route.method != "GET":
        possible.append(errors.IdempotencyKeyReusedError)
    possible += [errors.InvalidHeaderError, errors.PreconditionFailedError]
    if has_session_id:
        possible.append(errors.SessionNotFoundError)
    described = describe_errors((*possible, *_OPERATION_ERRORS[route.name]))
    if not has_session_id:
        # Only a session has a version, and so an entity tag.
        del described["412"]["headers"]["ETag"]
    return described


def describe_errors(possible: Errors) -> dict[str, JsonSchema]:
    """Describe the responses of these errors, by status."""
    statuses = sorted({error.status for error in possible})
    return {
        str(status): _describe_status(status, [error for error in possible if error.status == status])
        for status in statuses
    }


def _describe_status(status: int, possible: Sequence[type[SessionaryError]]) -> JsonSchema:
    descriptions = [f"`{error.code}`: {to_markdown(error.__doc__ or '').splitlines()[0]}" for error in possible]
    codes = [error.code for error in possible]
    restrictions = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    schema = {"allOf": [reference(component_name(Problem)), restrictions]}
    return describe_response("\n\n".join(descriptions), schema, _HEADERS_BY_STATUS.get(status, ()), _PROBLEM_JSON)
