"""Unknown names in bodies and query strings.

They are ignored, because later clients may send more than this server knows. But a name that is nearly a known one is a
mistake: ignoring it would lose what was sent, or list what was not requested. So ``sesionGroup`` is refused, with
``sessionGroup`` as the name that is meant. A caller can also have every unknown name refused (``strict``).
"""

from collections.abc import Iterable
from typing import Final

from sessionary.errors import FieldError, UnknownNameError

UNKNOWN_MAX: Final = 100
"""A request with more unknown names than this is refused."""
_LENGTH_MAX: Final = 64
"""Longer names are not compared with known ones."""
_ERRORS_SHOWN_MAX: Final = 20
_EDITS_MAX: Final = 2
_SHORT_EDITS_MAX: Final = 1
_SHORT_LENGTH_MAX: Final = 5
_SEPARATORS: Final = str.maketrans("", "", "_-")


class KnownNames:
    """The names that one operation knows in its body or in its query string."""

    def __init__(self, known: Iterable[str], location: str, pointer_prefix: str = "") -> None:
        """Take the known names; ``location`` is named in errors, pointers begin with ``pointer_prefix``."""
        self.known: Final = frozenset(known)
        self._by_normalised: Final = {_normalise(name): name for name in sorted(self.known)}
        self._location: Final = location
        self._pointer_prefix: Final = pointer_prefix

    def check(self, names: Iterable[str | None], *, strict: bool) -> None:
        """Raise UnknownNameError for misspelt names, with ``strict`` for every unknown name.

        None stands for a name that is not valid text. The error never contains a name that was sent: it may be a secret
        in the wrong position.
        """
        unknown = dict.fromkeys(name for name in names if name not in self.known)
        if not unknown:
            return
        if len(unknown) > UNKNOWN_MAX:
            raise UnknownNameError(f"{self._location} has more than {UNKNOWN_MAX} names that are not known here.")
        intended = [self._intended_name(name) for name in unknown]
        field_errors = [error for name in intended if (error := self._field_error(name, strict=strict)) is not None]
        if field_errors:
            raise UnknownNameError(
                f"{self._location}: {field_errors[0].detail}", field_errors=tuple(field_errors[:_ERRORS_SHOWN_MAX])
            )

    def _field_error(self, intended: str | None, *, strict: bool) -> FieldError | None:
        if intended is not None:
            return FieldError(f"{self._pointer_prefix}{intended}", f"a name is misspelt, {intended} is meant.")
        if not strict:
            return None
        return FieldError("", f"a name is not known here; known are: {', '.join(sorted(self.known)) or 'none'}.")

    def _intended_name(self, name: str | None) -> str | None:
        """Return the known name that a name is a misspelling of, if any."""
        if name is None or len(name) > _LENGTH_MAX:
            return None
        normalised = _normalise(name)
        if normalised in self._by_normalised:
            return self._by_normalised[normalised]
        similar = (intended for known, intended in self._by_normalised.items() if _is_similar(normalised, known))
        return next(similar, None)


def _normalise(name: str) -> str:
    return name.translate(_SEPARATORS).lower()


def _is_similar(name: str, known: str) -> bool:
    edits = _SHORT_EDITS_MAX if len(known) <= _SHORT_LENGTH_MAX else _EDITS_MAX
    return abs(len(name) - len(known)) <= edits and _is_within_edits(edits, name, known)


def _is_within_edits(edits: int, one: str, other: str) -> bool:
    """Return whether the edit distance (insert, delete, change or swap characters) is at most ``edits``."""
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    one, other = one[same:], other[same:]
    if not one or not other:
        return len(one) + len(other) <= edits
    if not edits:
        return False
    is_swapped = one[:2] == other[1::-1] and _is_within_edits(edits - 1, one[2:], other[2:])
    return (
        is_swapped
        or _is_within_edits(edits - 1, one[1:], other)
        or _is_within_edits(edits - 1, one, other[1:])
        or _is_within_edits(edits - 1, one[1:], other[1:])
    )
