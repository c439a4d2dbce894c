"""What the OpenAPI document cannot say, for schemathesis, which loads this file into its own process.

Every check stays on and every generated request is sent. A failure is dropped in one case only: a request that is valid
by its schema was refused, and the refusal says one of the sentences below.
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
from sessionary.server.http.preconditions import KEY_FORM, TAGS_FORM


class Unsaid(NamedTuple):
    """A refusal that no schema can foretell: its code, its whole detail as a pattern, and why."""

    code: str
    detail: str
    reason: str


UNSAID = (
    Unsaid(
        "INVALID_PARAMETER",
        r"cursor: must not be given together with offset\.",
        "OpenAPI describes each parameter alone.",
    ),
    Unsaid(
        "INVALID_CURSOR",
        r".*",
        "A cursor is opaque: only a Link can give one, and its form may change.",
    ),
    Unsaid(
        "INVALID_REQUEST",
        r"/(expirationMinutes|additionalMinutes|tokensUsed): must be an integer from \d+ to \d+\.",
        "JSON Schema takes 60.0 for an integer, the contract does not.",
    ),
    Unsaid(
        "INVALID_REQUEST",
        r"/metadata: must not contain the NUL character\.",
        "Metadata is any JSON object; only a schema of all JSON, written out, could bound the texts within.",
    ),
    Unsaid(
        "INVALID_REQUEST",
        r"An integer is outside of -2\^63 to 2\^64-1\.",
        "As for NUL: it may stand at any depth of metadata, of a message or of an unknown member.",
    ),
    Unsaid(
        "UNKNOWN_NAME",
        r".*",
        "Additional members are allowed; a schema cannot say that those near a known name are not.",
    ),
    Unsaid(
        "SCOPE_MISSING",
        r"createdAt needs a token with the scope sessions:import\.",
        "A schema knows nothing of tokens.",
    ),
    Unsaid(
        "INVALID_REQUEST",
        r"/createdAt: must not be (before 1970|in the future)\.",
        "It depends on the clock.",
    ),
    Unsaid(
        "TOTAL_TOO_LARGE",
        r"A session counts at most 2147483647 tokens\.",
        "It depends on what the session has counted before.",
    ),
    Unsaid(
        "EXPIRY_TOO_FAR",
        r".*",
        "It depends on the session's expiry.",
    ),
    Unsaid(
        "PRECONDITION_FAILED",
        r".*",
        "It depends on the session's version.",
    ),
    Unsaid(
        "IDEMPOTENCY_KEY_REUSED",
        r".*",
        "It depends on what the key was used for before.",
    ),
)


# Left alone, schemathesis makes up no header with a quote in it, and seldom a version that is current.
HEADERS = {
    IDEMPOTENCY_KEY: st.from_regex(KEY_FORM, fullmatch=True),
    "If-Match": st.just("*") | st.from_regex(TAGS_FORM, fullmatch=True),
    "Prefer": st.sampled_from(["handling=strict", "handling=lenient", "respond-async, handling=strict"]),
    "If-None-Match": st.just("*") | st.from_regex(TAGS_FORM, fullmatch=True),
}
for name, values in HEADERS.items():
    schemathesis.openapi.format(name, values)

numbers = itertools.count()


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:  # noqa: ARG001 - its names
    """Let our values be taken for the headers they are made for."""
    for path in raw_schema["paths"].values():
        for operation in path.values():
            # Beside the operations stands what they share: a list of parameters in the path.
            for parameter in operation.get("parameters", []) if isinstance(operation, dict) else []:
                if parameter["in"] == "header":
                    parameter["schema"]["format"] = parameter["name"]


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:  # noqa: ARG001 - its names
    """Give nine calls in ten a key of their own: one that was used before would hide what else there is to see."""
    key = case.headers.get(IDEMPOTENCY_KEY) if case.headers else None
    if isinstance(key, str) and re.fullmatch(KEY_FORM, key) and (number := next(numbers)) % 10:
        case.headers[IDEMPOTENCY_KEY] = f'"{number}"'


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:  # noqa: ARG001 - its names
    """Keep every failure but a refusal that is listed."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    problem = response.json()
    return not any(problem["code"] == one.code and re.fullmatch(one.detail, problem["detail"]) for one in UNSAID)
