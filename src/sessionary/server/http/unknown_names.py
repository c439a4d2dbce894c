"""Names that are not known: ignored, unless they are a known one misspelt or the caller wants each of them refused.

Later clients may send more than this server knows. But a name that is nearly a known one is a mistake, and to ignore it
would be to lose what was sent, or to list what was not asked for.
"""

from collections.abc import Iterable
from typing import Final

from sessionary.errors import FieldError, UnknownNameError

UNKNOWN_MAX: Final = 100
"""So many unknown names are looked at; a request with more is refused."""
_LENGTH_MAX: Final = 64
"""Nothing longer is taken for one of our names."""
_FAULTS_SHOWN_MAX: Final = 20
_EDITS_MAX: Final = 2
_SHORT_EDITS_MAX: Final = 1
_SHORT_LENGTH_MAX: Final = 5
_IGNORED: Final = str.maketrans("", "", "_-")


class Names:
    """The names one operation knows in one place: the body or the query string."""

    def __init__(self, known: Iterable[str], place: str, pointer: str = "") -> None:
        """Learn the names; ``place`` says where they stand, ``pointer`` is what the pointer to one begins with."""
        self.known: Final = frozenset(known)
        self._folded: Final = {_folded(name): name for name in sorted(self.known)}
        self._place: Final = place
        self._pointer: Final = pointer

    def check(self, given: Iterable[str | None], *, strict: bool) -> None:
        """Raise UnknownNameError for names that are misspelt, or if ``strict`` for any; None is a name that is no text.

        A name that was given is never repeated in the error: it may be a secret in the wrong place.
        """
        unknown = dict.fromkeys(name for name in given if name not in self.known)
        if not unknown:
            return
        if len(unknown) > UNKNOWN_MAX:
            raise UnknownNameError(f"{self._place} has more than {UNKNOWN_MAX} names that are not known here.")
        meant = [self._meant(name) for name in unknown]
        field_errors = [field_error for name in meant if (field_error := self._fault(name, strict=strict)) is not None]
        if field_errors:
            raise UnknownNameError(
                f"{self._place}: {field_errors[0].detail}", field_errors=tuple(field_errors[:_FAULTS_SHOWN_MAX])
            )

    def _fault(self, meant: str | None, *, strict: bool) -> FieldError | None:
        if meant is not None:
            return FieldError(f"{self._pointer}{meant}", f"a name is misspelt, {meant} is meant.")
        if not strict:
            return None
        return FieldError("", f"a name is not known here; known are: {', '.join(sorted(self.known)) or 'none'}.")

    def _meant(self, name: str | None) -> str | None:
        """Say which known name another one is meant to be, if any."""
        if name is None or len(name) > _LENGTH_MAX:
            return None
        folded = _folded(name)
        if folded in self._folded:
            return self._folded[folded]
        near = (meant for known, meant in self._folded.items() if _is_near(folded, known))
        return next(near, None)


def _folded(name: str) -> str:
    return name.translate(_IGNORED).lower()


def _is_near(given: str, known: str) -> bool:
    edits = _SHORT_EDITS_MAX if len(known) <= _SHORT_LENGTH_MAX else _EDITS_MAX
    return abs(len(given) - len(known)) <= edits and _within(edits, given, known)


def _within(edits: int, one: str, other: str) -> bool:
    """Say whether so many letters added, left out, changed or swapped with the next make one text the other."""
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    one, other = one[same:], other[same:]
    if not one or not other:
        return len(one) + len(other) <= edits
    if not edits:
        return False
    swapped = one[:2] == other[1::-1] and _within(edits - 1, one[2:], other[2:])
    return (
        swapped
        or _within(edits - 1, one[1:], other)
        or _within(edits - 1, one, other[1:])
        or _within(edits - 1, one[1:], other[1:])
    )
