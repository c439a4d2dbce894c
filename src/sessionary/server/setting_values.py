"""Values from outside: text of a flag, a variable or a file, trimmed, checked, and refused with what would be right."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from msgspec import Meta

_AROUND: Final = " \t\r\n\v\f\u00a0\u200b\ufeff"
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1", "t", "y"), True),
    **dict.fromkeys(("false", "no", "off", "0", "f", "n"), False),
}
_CLOSE_ENOUGH: Final = 0.7


class InvalidValueError(Exception):
    """What was given is not what it must be; says what that is, and never what was given: it may be a secret."""


def trimmed(text: str) -> str:
    """Take away what editors, shells and secret stores leave around a value."""
    return text.strip(_AROUND)


def checked_text(text: str) -> str:
    """Trim a text; raises InvalidValueError for one that holds control characters or is not Unicode."""
    text = trimmed(text)
    if _UNFIT.search(text):
        raise InvalidValueError("it must be one line without control characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidValueError("it must be UTF-8 text")
    return text


def read_value(kind: Any, given: object) -> Any:
    """Read what was given as this kind of value, an annotated type with its bounds; raises InvalidValueError."""
    base, meta = _parts(kind)
    if isinstance(given, str):
        given = checked_text(given)
    if get_origin(base) is Literal:
        return _one_of(get_args(base), given)
    if base is str:
        return _text(given, meta)
    value = _word(given) if base is bool else _number(base, given)
    if value is None or not _is_within(value, meta):
        raise InvalidValueError(_must_be(base, meta))
    return value


def meant(name: str, known: Iterable[str]) -> str | None:
    """Find the name that was meant by a misspelt one."""
    # Needed for mistakes only.
    from difflib import get_close_matches  # noqa: PLC0415

    bare = {_bare(each): each for each in known}
    found = get_close_matches(_bare(name), bare, 1, _CLOSE_ENOUGH)
    return bare[found[0]] if found else None


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _parts(kind: Any) -> tuple[Any, Meta]:
    if get_origin(kind) is not Annotated:
        return kind, Meta()
    base, *notes = get_args(kind)
    known = [note for note in notes if isinstance(note, Meta)]
    # The bounds of a type that has a name, and beside them the description of the setting.
    return base, next((note for note in known if _bounds(note)), known[0] if known else Meta())


def _bounds(meta: Meta) -> bool:
    return any(bound is not None for bound in (meta.ge, meta.gt, meta.le, meta.min_length, meta.pattern))


def _one_of(words: tuple[str, ...], given: object) -> str:
    found = next((word for word in words if word == given), None)
    if found is None:
        raise InvalidValueError(f"it must be {', '.join(words[:-1])} or {words[-1]}")
    return found


def _text(given: object, meta: Meta) -> str:
    if not isinstance(given, str):
        raise InvalidValueError("it must be text")
    if not given and meta.min_length:
        raise InvalidValueError("it must not be empty")
    if meta.pattern is not None and not re.fullmatch(meta.pattern, given):
        raise InvalidValueError(f"it must be {meta.title}")
    return given


def _word(given: object) -> bool | None:
    if isinstance(given, str):
        return _WORDS.get(given.lower())
    return given if isinstance(given, bool) else None


def _number(base: type, given: object) -> float | None:
    if isinstance(given, str):
        pattern = _WHOLE if base is int else _NUMBER
        return base(given) if pattern.fullmatch(given) else None
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    if base is int:
        return given if isinstance(given, int) else None
    return given if isinstance(given, float) else _as_float(given)


def _as_float(given: int) -> float:
    try:
        return float(given)
    except OverflowError:
        return math.inf


def _is_within(value: float, meta: Meta) -> bool:
    return (
        math.isfinite(value)
        and (meta.ge is None or value >= meta.ge)
        and (meta.gt is None or value > meta.gt)
        and (meta.le is None or value <= meta.le)
    )


def _must_be(base: type, meta: Meta) -> str:
    if base is bool:
        return "it must be true or false"
    kind = "a whole number" if base is int else "a number"
    lower = "" if meta.ge is None else f" of at least {meta.ge}"
    if meta.gt is not None:
        lower = f" above {meta.gt}"
    upper = "" if meta.le is None else f" and at most {meta.le}"
    return f"it must be {kind}{lower}{upper}, in plain digits"
