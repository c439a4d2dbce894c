"""Encoding of request bodies, query strings and path segments."""

from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from sessionary.errors import InvalidArgumentError


def encode_body(request: Struct) -> bytes:
    """Encode a request as JSON, without members that are None; raises InvalidArgumentError if JSON cannot hold it."""
    given = _given_members(request)
    try:
        body = msgspec.json.encode(given)
        # msgspec encodes NaN and the infinities as null, which would change the data silently.
        if b"null" in body and _contains_non_finite(msgspec.to_builtins(given)):
            raise ValueError("it contains NaN or an infinity")  # noqa: TRY301 - handled like what msgspec refuses
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgumentError(f"The request cannot be written as JSON: {error}.") from error
    return body


def encode_query(parameters: Struct) -> str:
    """Encode parameters as a query string, without those that are None; raises InvalidArgumentError."""
    given = _given_members(parameters)
    for name, value in given.items():
        # Anything else would be sent as Python writes it: a list as "['a']".
        if not isinstance(value, str | int | float):
            raise InvalidArgumentError(f"{name} must be a string or a number, not {type(value).__name__}.")
    try:
        return urlencode(given, quote_via=quote)
    except ValueError as error:
        raise InvalidArgumentError(f"The parameters cannot be written in a URL: {error}.") from error


def encode_path_segment(text: object, what: str) -> str:
    """Percent-encode a name or an id as one path segment; raises InvalidArgumentError unless it is a string."""
    if text is None or text == "":
        raise InvalidArgumentError(f"The {what} is empty.")
    if not isinstance(text, str):
        raise InvalidArgumentError(f"The {what} must be a string, not {type(text).__name__}.")
    try:
        quoted = quote(text, safe="")
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"The {what} cannot be written in a URL: {error}.") from error
    # URL parsers remove "." and ".." segments unless the dots are escaped.
    return quoted if text.strip(".") else quoted.replace(".", "%2E")


def _given_members(request: Struct) -> dict[str, Any]:
    names = zip(request.__struct_fields__, request.__struct_encode_fields__, strict=True)
    values = ((wire_name, getattr(request, name)) for name, wire_name in names)
    return {wire_name: value for wire_name, value in values if value is not None}


def _contains_non_finite(value: Any) -> bool:
    match value:
        case float():
            return value - value != 0
        case dict():
            return any(map(_contains_non_finite, value.values()))
        case list() | tuple():
            return any(map(_contains_non_finite, value))
        case _:
            return False
