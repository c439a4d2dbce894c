"""Spelling what is sent: bodies, query strings and the segments of a path."""

from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from sessionary.errors import InvalidRequestError


def body_of(request: Struct) -> bytes:
    """Write a request as JSON, without what was not given; raises InvalidRequestError for what JSON cannot hold."""
    given = _given(request)
    try:
        body = msgspec.json.encode(given)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(f"The request cannot be written as JSON: {error}.") from error
    # NaN and the infinities are written as null, which would not come back as what it was.
    if b"null" in body and _holds_no_number(msgspec.to_builtins(given)):
        raise InvalidRequestError("The request cannot be written as JSON: it holds NaN or an infinity.")
    return body


def query_of(parameters: Struct) -> str:
    """Write parameters as a query string, without what was not given; raises InvalidRequestError."""
    try:
        return urlencode(_given(parameters), quote_via=quote)
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"The parameters cannot be written in a URL: {error}.") from error


def segment(text: str, what: str) -> str:
    """Write a name or an id as one segment of a path; raises InvalidRequestError for what would lead elsewhere."""
    if not text:
        raise InvalidRequestError(f"The {what} is empty.")
    try:
        quoted = quote(text, safe="")
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"The {what} cannot be written in a URL: {error}.") from error
    # "." and ".." mean a place on the way, unless they are escaped.
    return quoted if text.strip(".") else quoted.replace(".", "%2E")


def _given(request: Struct) -> dict[str, Any]:
    names = zip(request.__struct_fields__, request.__struct_encode_fields__, strict=True)
    values = ((wire_name, getattr(request, name)) for name, wire_name in names)
    return {wire_name: value for wire_name, value in values if value is not None}


def _holds_no_number(value: Any) -> bool:
    match value:
        case float():
            return value - value != 0
        case dict():
            return any(map(_holds_no_number, value.values()))
        case list() | tuple():
            return any(map(_holds_no_number, value))
        case _:
            return False
