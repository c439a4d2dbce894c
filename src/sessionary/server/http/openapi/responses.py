"""What an operation may answer, as the OpenAPI document spells it: successes, failures and their headers."""

from collections.abc import Iterable, Sequence
from typing import Final

from sessionary import constants, errors
from sessionary.errors import SessionaryError
from sessionary.models import ACCEPT_IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, Problem
from sessionary.server.http.openapi.schemas import JsonSchema, name_of, prose, reference
from sessionary.server.http.routes import Route

JSON: Final = "application/json"
_PROBLEM_JSON: Final = "application/problem+json"

Failures = tuple[type[SessionaryError], ...]

_ALWAYS: Final[Failures] = (
    errors.AuthenticationError,
    errors.PermissionDeniedError,
    errors.MissingScopeError,
    errors.NotFoundError,
    errors.UnknownNameError,
    errors.MethodNotAllowedError,
    errors.QueryTooLongError,
    errors.HeadersTooLargeError,
    errors.RateLimitError,
    errors.SessionaryError,
    errors.OverloadedError,
    errors.StoreUnavailableError,
    errors.HttpVersionNotSupportedError,
)
_OF_BODIES: Final[Failures] = (
    errors.InvalidJsonError,
    errors.InvalidRequestError,
    errors.RequestTimeoutError,
    errors.BodyTooLargeError,
    errors.UnsupportedMediaTypeError,
)
_OF_OPERATIONS: Final[dict[str, Failures]] = {
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

_ITEM: Final = '"(token|organisation)";'

HEADERS: Final[dict[str, JsonSchema]] = {
    "X-Request-Id": {
        "description": "Names this exchange in the server's log: the caller's own `X-Request-Id`, if it has this form.",
        "required": True,
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": constants.REQUEST_ID_LENGTH_MAX,
            "pattern": "^[A-Za-z0-9._-]+$",
        },
    },
    ACCEPT_IDEMPOTENCY_KEY: {
        "description": "Declares that idempotency keys are honoured.",
        "schema": {"type": "string", "const": "?1"},
    },
    "Cache-Control": {
        "description": "Whether this answer may be kept: only what has an `ETag` may, by its asker, to be asked again.",
        "schema": {"type": "string", "enum": ["no-store", "private, no-cache"]},
    },
    "ETag": {
        "description": "The version of the session.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[1-9][0-9]*"$'},
    },
    IDEMPOTENT_REPLAYED: {
        "description": "Present if this is the answer that the request's idempotency key got before.",
        "schema": {"type": "string", "const": "true"},
    },
    "Preference-Applied": {
        "description": "Present if every unknown name was refused, as the request preferred.",
        "schema": {"type": "string", "const": "handling=strict"},
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
        "description": (
            "After how many seconds to try again. Absent with `QUOTA_EXCEEDED`, and with `STORE_UNAVAILABLE` from a "
            "change without an `Idempotency-Key`: its outcome is unknown, and repeating it might have the effect twice."
        ),
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit": {
        "description": "Where requests are counted: how many are left (`r`), all of them in how many seconds (`t`).",
        "schema": {"type": "string", "pattern": f"^{_ITEM}r=[0-9]+;t=[0-9]+(, {_ITEM}r=[0-9]+;t=[0-9]+)?$"},
    },
    "RateLimit-Policy": {
        "description": "Where requests are counted: how many may come (`q`) in how many seconds (`w`).",
        "schema": {"type": "string", "pattern": f"^{_ITEM}q=[0-9]+;w=[0-9]+(, {_ITEM}q=[0-9]+;w=[0-9]+)?$"},
    },
}
_ALWAYS_SENT: Final = ("X-Request-Id", ACCEPT_IDEMPOTENCY_KEY, "Cache-Control", "Preference-Applied")
_SENT_WITH: Final = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    412: ("ETag",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def response(
    description: str, schema: JsonSchema | None, headers: Iterable[str] = (), media_type: str = JSON
) -> JsonSchema:
    """Describe one answer; without a schema it has no body."""
    described: JsonSchema = {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in (*_ALWAYS_SENT, *headers)},
    }
    return described if schema is None else described | {"content": {media_type: {"schema": schema}}}


def failures(route: Route, *, of_session: bool) -> dict[str, JsonSchema]:
    """Describe every way an operation can fail, by status."""
    of_body = _OF_BODIES if route.takes_body else ()
    of_key = () if route.method == "GET" else (errors.IdempotencyKeyReusedError,)
    of_conditions = (errors.InvalidHeaderError, errors.PreconditionFailedError)
    of_place = (errors.SessionNotFoundError,) if of_session else ()
    described = failures_of((*_ALWAYS, *of_body, *of_key, *of_conditions, *of_place, *_OF_OPERATIONS[route.name]))
    if not of_session:
        # What has no version has no tag.
        del described["412"]["headers"]["ETag"]
    return described


def failures_of(possible: Failures) -> dict[str, JsonSchema]:
    """Describe these failures, by status."""
    statuses = sorted({failure.status for failure in possible})
    return {
        str(status): _failure(status, [failure for failure in possible if failure.status == status])
        for status in statuses
    }


def _failure(status: int, possible: Sequence[type[SessionaryError]]) -> JsonSchema:
    said = [f"`{failure.code}`: {prose(failure.__doc__ or '').splitlines()[0]}" for failure in possible]
    codes = [failure.code for failure in possible]
    exactly = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    schema = {"allOf": [reference(name_of(Problem)), exactly]}
    return response("\n\n".join(said), schema, _SENT_WITH.get(status, ()), _PROBLEM_JSON)
