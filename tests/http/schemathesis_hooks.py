"""The rules that the OpenAPI document cannot express, for schemathesis, which loads this file into its own process.

Every check stays on and every generated request is sent. A failure is ignored in one case only: a request that is valid
by its schema was refused with one of the errors below.
"""

import itertools
import re
from typing import Any, NamedTuple

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData

from sessionary.models import IDEMPOTENCY_KEY
from sessionary.server.http.idempotency import KEY_PATTERN
from sessionary.server.http.preconditions import ETAGS_PATTERN


class Inexpressible(NamedTuple):
    """An error that no schema can predict: its code, a pattern of its whole detail, and the reason."""

    code: str
    detail: str
    reason: str


INEXPRESSIBLE = (
    Inexpressible(
        "INVALID_PARAMETER",
        r"cursor: must not be given together with offset\.",
        "OpenAPI describes each parameter by itself.",
    ),
    Inexpressible(
        "INVALID_CURSOR",
        r".*",
        "A cursor is opaque: it is taken from a Link, and its form may change.",
    ),
    Inexpressible(
        "INVALID_REQUEST",
        r"/(expirationMinutes|additionalMinutes|tokensUsed): must be an integer from \d+ to \d+\.",
        "60.0 is an integer in JSON Schema, but not in the contract.",
    ),
    Inexpressible(
        "INVALID_REQUEST",
        r"/metadata: must not contain the NUL character\.",
        "Metadata is any JSON object; only a complete schema of JSON could restrict the strings in it.",
    ),
    Inexpressible(
        "INVALID_REQUEST",
        r"An integer is outside of -2\^63 to 2\^64-1\.",
        "As for NUL: it may be at any depth of metadata, of a message or of an unknown member.",
    ),
    Inexpressible(
        "UNKNOWN_NAME",
        r".*",
        "Additional members are allowed; a schema cannot exclude names that are similar to known ones.",
    ),
    Inexpressible(
        "SCOPE_MISSING",
        r"createdAt needs a token with the scope sessions:import\.",
        "A schema does not describe tokens.",
    ),
    Inexpressible(
        "INVALID_REQUEST",
        r"/createdAt: must not be (before 1970|in the future)\.",
        "It depends on the current time.",
    ),
    Inexpressible(
        "TOTAL_TOO_LARGE",
        r"A session counts at most 2147483647 tokens\.",
        "It depends on the session's total.",
    ),
    Inexpressible(
        "EXPIRY_TOO_FAR",
        r".*",
        "It depends on the session's expiry.",
    ),
    Inexpressible(
        "PRECONDITION_FAILED",
        r".*",
        "It depends on the session's version.",
    ),
    Inexpressible(
        "IDEMPOTENCY_KEY_REUSED",
        r".*",
        "It depends on what the key was used for before.",
    ),
)


# By default schemathesis generates no header with a quote in it, and rarely a current version.
HEADERS = {
    IDEMPOTENCY_KEY: st.from_regex(KEY_PATTERN, fullmatch=True),
    "If-Match": st.just("*") | st.from_regex(ETAGS_PATTERN, fullmatch=True),
    "Prefer": st.sampled_from(["handling=strict", "handling=lenient", "respond-async, handling=strict"]),
    "If-None-Match": st.just("*") | st.from_regex(ETAGS_PATTERN, fullmatch=True),
}
for name, values in HEADERS.items():
    schemathesis.openapi.format(name, values)

numbers = itertools.count()


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:  # noqa: ARG001 - its names
    """Use our values for the headers that they are made for."""
    for path in raw_schema["paths"].values():
        for operation in path.values():
            # A path has not only operations but also a list of the parameters that they share.
            for parameter in operation.get("parameters", []) if isinstance(operation, dict) else []:
                if parameter["in"] == "header":
                    parameter["schema"]["format"] = parameter["name"]


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:  # noqa: ARG001 - its names
    """Give nine requests in ten a new key: one that was used before would hide all other results."""
    key = case.headers.get(IDEMPOTENCY_KEY) if case.headers else None
    if isinstance(key, str) and re.fullmatch(KEY_PATTERN, key) and (number := next(numbers)) % 10:
        case.headers[IDEMPOTENCY_KEY] = f'"{number}"'


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:  # noqa: ARG001 - its names
    """Keep every failure except an error that is listed."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    problem = response.json()
    return not any(problem["code"] == one.code and re.fullmatch(one.detail, problem["detail"]) for one in INEXPRESSIBLE)
