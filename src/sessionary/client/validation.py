"""Checks of what callers give to a client: unknown keyword names and values out of range."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from sessionary import constants
from sessionary.errors import InvalidArgumentError
from sessionary.models import IDEMPOTENCY_KEY

TIMEOUT_SECONDS_MAX: Final = 1e9
"""About 30 years; a longer timeout means no limit."""
RETRIES_MAX: Final = 100

_NOT_IN_NAMES: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that the server refuses in the name of an organisation."""

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_IDEMPOTENCY_KEY: Final = re.compile(rf"[\x20-\x7e]{{1,{constants.IDEMPOTENCY_KEY_LENGTH_MAX}}}")

_OTHER_NAMES: Final = {
    "api_key": "token",
    "base_url": "url",
    "default_headers": "headers",
    "extra_headers": "headers",
    "http_client": "transport",
}
"""What other clients of HTTP APIs call our arguments."""

_SHORT_NAME_LENGTH: Final = 5
_SHORT_MEMBER_LENGTH: Final = 7
_EDITS_MAX: Final = 2


def reject_unknown_names(given: Mapping[str, Any], known: type, function: str) -> None:
    """Refuse keyword names that a TypedDict does not declare, as Python refuses unknown arguments; raises TypeError."""
    unknown = given.keys() - known.__annotations__
    if unknown:
        raise unexpected_keyword_error(function, min(unknown), known.__annotations__)


def unexpected_keyword_error(function: str, name: str, known: Collection[str]) -> TypeError:
    """Make the error for an unknown keyword argument, with the name that was probably meant."""
    meant = closest_name(name, known)
    if meant is None and (function == "Client" or _OTHER_NAMES.get(name) in known):
        meant = _OTHER_NAMES.get(name)
    hint = f"; did you mean {meant!r}?" if meant else ""
    return TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


def closest_name(name: str, known: Collection[str]) -> str | None:
    """Return the known name that this one probably misspells, or None.

    Case, ``_`` and ``-`` are ignored. At most two letters may differ, one in names of up to five letters. Two swapped
    letters count as one.
    """
    return _closest(name, known, _SHORT_NAME_LENGTH)


def closest_member_name(name: str, known: Collection[str]) -> str | None:
    """Return the known member of a message that this name probably misspells, or None.

    Messages may have members of any name, so this is stricter: names of up to seven letters may differ in one letter
    only. ``intent`` is not taken for ``content``.
    """
    return _closest(name, known, _SHORT_MEMBER_LENGTH)


def _closest(name: str, known: Collection[str], short_length: int) -> str | None:
    found, best = None, _EDITS_MAX + 1
    for each in known:
        allowed = 1 if len(_normalised(each)) <= short_length else _EDITS_MAX
        edits = _edit_distance(_normalised(name), _normalised(each), allowed)
        if edits <= allowed and edits < best:
            found, best = each, edits
    return found


def _normalised(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


def _edit_distance(one: str, other: str, allowed: int) -> int:
    """Count the letters to add, drop, change or swap, or return ``allowed + 1`` if the lengths differ too much."""
    if abs(len(one) - len(other)) > allowed:
        return allowed + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        following = [number]
        for column, wanted in enumerate(other, 1):
            best = min(row[column] + 1, following[-1] + 1, row[column - 1] + (letter != wanted))
            if number > 1 and column > 1 and one[number - 2 : number] == wanted + other[column - 2]:
                best = min(best, before[column - 2] + 1)
            following.append(best)
        before, row = row, following
    return row[-1]


def validate_timeout(timeout: object) -> float | None:
    """Check a timeout in seconds; raises InvalidArgumentError. None means no limit."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise InvalidArgumentError("The timeout must be a number of seconds, more than 0, or None.")
    # Clocks and selectors cannot take longer ones, infinity least of all.
    return timeout if timeout < TIMEOUT_SECONDS_MAX else None


def validate_max_retries(max_retries: Any) -> int:
    """Check the number of retries; raises InvalidArgumentError."""
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or not 0 <= max_retries <= RETRIES_MAX:
        raise InvalidArgumentError(f"max_retries, the number of retries, must be an integer from 0 to {RETRIES_MAX}.")
    return max_retries


def validate_organisation(organisation: object) -> str | None:
    """Check the name of an organisation; raises InvalidArgumentError. None and "" mean that none is given."""
    if organisation is None:
        return None
    if not isinstance(organisation, str):
        raise InvalidArgumentError("The organisation must be a string.")
    if len(organisation) > constants.ORGANISATION_LENGTH_MAX or _NOT_IN_NAMES.search(organisation):
        raise InvalidArgumentError(
            f"The organisation must have at most {constants.ORGANISATION_LENGTH_MAX} characters and no control "
            "characters."
        )
    return organisation or None


def validate_headers(headers: object) -> dict[str, str]:
    """Check HTTP headers given by the caller; raises InvalidArgumentError, whose text never contains a value."""
    if not headers:
        return {}
    if not isinstance(headers, Mapping):
        raise InvalidArgumentError("The headers must be a mapping of names to values.")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidArgumentError("The name of a header is not valid.")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value.strip(" \t")):
            raise InvalidArgumentError(f"The header {name} must contain printable ASCII characters only.")
    return {name: value.strip(" \t") for name, value in headers.items()}


def authorization_header(token: object) -> dict[str, str]:
    """Build the ``Authorization`` header of a token, nothing without one; raises InvalidArgumentError."""
    if token is not None and not isinstance(token, str):
        raise InvalidArgumentError("The token must be a string.")
    # A token that was read from a file often ends with a newline.
    stripped = (token or "").strip()
    if not stripped:
        return {}
    if not (stripped.isascii() and stripped.isprintable()) or " " in stripped:
        raise InvalidArgumentError("The token contains characters that are not allowed in a token.")
    return {"Authorization": f"Bearer {stripped}"}


def condition_headers(
    *, idempotency_key: object = None, if_match: object = None, if_none_match: object = None
) -> dict[str, str]:
    """Build the headers of an idempotency key and of entity tags; raises InvalidArgumentError."""
    headers = {}
    if idempotency_key is not None:
        headers[IDEMPOTENCY_KEY] = _quoted_key(idempotency_key)
    for name, tag in (("If-Match", if_match), ("If-None-Match", if_none_match)):
        if tag is not None:
            if not isinstance(tag, str) or not tag:
                raise InvalidArgumentError(f"{name} takes an entity tag: the etag of a response.")
            headers[name] = tag
    return validate_headers(headers)


def _quoted_key(key: object) -> str:
    if not isinstance(key, str) or not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidArgumentError(
            f"The idempotency key must have 1 to {constants.IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters."
        )
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
