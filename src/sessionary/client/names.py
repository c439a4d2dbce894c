"""Names of arguments that were mistyped."""

from collections.abc import Collection, Mapping
from typing import Any, Final

_SHORT_NAME_LENGTH: Final = 5
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

    Case, ``_`` and ``-`` do not count. At most two letters may be wrong, one in names of up to five letters.
    """
    bare = _bare(name)
    for each in known:
        allowed = 1 if len(_bare(each)) <= _SHORT_NAME_LENGTH else _EDITS_MAX
        if _edits(bare, _bare(each), allowed) <= allowed:
            return each
    return None


def _bare(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


def _edits(one: str, other: str, allowed: int) -> int:
    """Count the letters to add, drop or change; names whose lengths differ too much are not compared."""
    if abs(len(one) - len(other)) > allowed:
        return allowed + 1
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        corner, row[0] = row[0], number
        for place, wanted in enumerate(other, 1):
            corner, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, corner + (letter != wanted))
    return row[-1]
