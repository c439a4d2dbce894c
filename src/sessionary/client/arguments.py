"""What callers give to a client: names of arguments that were mistyped, and values that make no sense."""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from sessionary import constants
from sessionary.errors import InvalidRequestError

TIMEOUT_SECONDS_MAX: Final = 1e9
"""About 30 years: longer means for as long as it takes."""
RETRIES_MAX: Final = 100

_NO_NAME: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no organisation's name holds, as the server has it."""

_SHORT_NAME_LENGTH: Final = 5
_SHORT_MEMBER_LENGTH: Final = 7
_EDITS_MAX: Final = 2


def check_names(given: Mapping[str, Any], known: type, what: str) -> None:
    """Refuse names that a TypedDict does not have, as Python does those of arguments; raises TypeError."""
    unknown = given.keys() - known.__annotations__
    if unknown:
        raise unexpected(what, min(unknown), known.__annotations__)


def unexpected(what: str, name: str, known: Collection[str]) -> TypeError:
    """Say that a function takes no such argument, and which one was probably meant."""
    meant = closest(name, known)
    hint = f"; did you mean {meant!r}?" if meant else ""
    return TypeError(f"{what}() got an unexpected keyword argument {name!r}{hint}")


def closest(name: str, known: Collection[str]) -> str | None:
    """Find the known name of which this one is a mistyped form, or None.

    Case, ``_`` and ``-`` do not count. At most two letters may be wrong, one in names of up to five letters. Two
    letters that changed places count as one.
    """
    return _closest(name, known, _SHORT_NAME_LENGTH)


def closest_member(name: str, known: Collection[str]) -> str | None:
    """Find the known member of an object of which this name is a mistyped form, or None.

    Such an object may have members of any name. So those of seven letters, too, may have one wrong letter only:
    ``intent`` is not meant as ``content``.
    """
    return _closest(name, known, _SHORT_MEMBER_LENGTH)


def _closest(name: str, known: Collection[str], short: int) -> str | None:
    found, fewest = None, _EDITS_MAX + 1
    for each in known:
        allowed = 1 if len(_bare(each)) <= short else _EDITS_MAX
        edits = _edits(_bare(name), _bare(each), allowed)
        if edits <= allowed and edits < fewest:
            found, fewest = each, edits
    return found


def _bare(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


def _edits(one: str, other: str, allowed: int) -> int:
    """Count the letters to add, drop, change or swap; names whose lengths differ too much are not compared."""
    if abs(len(one) - len(other)) > allowed:
        return allowed + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        following = [number]
        for place, wanted in enumerate(other, 1):
            fewest = min(row[place] + 1, following[-1] + 1, row[place - 1] + (letter != wanted))
            if number > 1 and place > 1 and one[number - 2 : number] == wanted + other[place - 2]:
                fewest = min(fewest, before[place - 2] + 1)
            following.append(fewest)
        before, row = row, following
    return row[-1]


def seconds(timeout: object) -> float | None:
    """Check a timeout; raises InvalidRequestError. None stands for as long as it takes."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or math.isnan(timeout) or timeout <= 0:
        raise InvalidRequestError("The timeout must be a number of seconds, more than 0, or None.")
    # No clock of the system counts further, infinity least of all.
    return timeout if timeout < TIMEOUT_SECONDS_MAX else None


def retries_checked(retries: Any) -> int:
    """Check how often to retry; raises InvalidRequestError."""
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= RETRIES_MAX:
        raise InvalidRequestError(f"The number of retries must be a whole number from 0 to {RETRIES_MAX}.")
    return retries


def organisation_checked(organisation: object) -> str | None:
    """Check the name of an organisation; raises InvalidRequestError. None and "" stand for none given."""
    if organisation is None:
        return None
    if not isinstance(organisation, str):
        raise InvalidRequestError("The organisation must be text.")
    if len(organisation) > constants.ORGANISATION_LENGTH_MAX or _NO_NAME.search(organisation):
        raise InvalidRequestError(
            f"The organisation must have at most {constants.ORGANISATION_LENGTH_MAX} characters, none of them control "
            "characters."
        )
    return organisation or None
