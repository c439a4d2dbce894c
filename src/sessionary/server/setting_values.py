"""Parsing the values of settings: from flags, variables and files; errors name what a valid value looks like."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from msgspec import Meta

_WHITESPACE: Final = " \t\r\n\v\f\u00a0\u200b\ufeff"
_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,30}")
NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1", "t", "y"), True),
    **dict.fromkeys(("false", "no", "off", "0", "f", "n"), False),
}
_SIMILARITY_MIN: Final = 0.7


class InvalidValueError(Exception):
    """A value is not valid. The message says what it must be, and never repeats the value: it may be a secret."""


def trim(text: str) -> str:
    """Strip the whitespace and byte-order marks that editors, shells and secret stores leave around a value."""
    return text.strip(_WHITESPACE)


def clean_text(text: str) -> str:
    """Trim a text; raises InvalidValueError if it contains control characters or is not valid Unicode."""
    text = trim(text)
    if _CONTROL_CHARACTER.search(text):
        raise InvalidValueError("it must be one line without control characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidValueError("it must be UTF-8 text")
    return text


def parse_value(kind: Any, given: object) -> Any:
    """Parse a value as a type annotated with its bounds; raises InvalidValueError."""
    base, meta = _base_and_meta(kind)
    if isinstance(given, str):
        given = clean_text(given)
    if get_origin(base) is Literal:
        return _parse_choice(get_args(base), given)
    if base is str:
        return _parse_text(given, meta)
    value = _parse_boolean(given) if base is bool else _parse_number(base, given)
    if value is None or not _is_within(value, meta):
        raise InvalidValueError(_describe_type(base, meta))
    return value


def closest_match(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to a misspelt one, or None."""
    # Imported late: only needed after a mistake.
    from difflib import get_close_matches  # noqa: PLC0415

    normalized = {_normalize(each): each for each in known}
    matches = get_close_matches(_normalize(name), normalized, 1, _SIMILARITY_MIN)
    return normalized[matches[0]] if matches else None


def _normalize(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _base_and_meta(kind: Any) -> tuple[Any, Meta]:
    if get_origin(kind) is not Annotated:
        return kind, Meta()
    base, *annotations = get_args(kind)
    metas = [annotation for annotation in annotations if isinstance(annotation, Meta)]
    # A named type carries the bounds in one Meta, and the setting adds another with its description.
    return base, next((meta for meta in metas if _has_bounds(meta)), metas[0] if metas else Meta())


def _has_bounds(meta: Meta) -> bool:
    return any(bound is not None for bound in (meta.ge, meta.gt, meta.le, meta.min_length, meta.pattern))


def _parse_choice(words: tuple[str, ...], given: object) -> str:
    choice = next((word for word in words if word == given), None)
    if choice is None:
        raise InvalidValueError(f"it must be {', '.join(words[:-1])} or {words[-1]}")
    return choice


def _parse_text(given: object, meta: Meta) -> str:
    if not isinstance(given, str):
        raise InvalidValueError("it must be text")
    if not given and meta.min_length:
        raise InvalidValueError("it must not be empty")
    if meta.pattern is not None and not re.fullmatch(meta.pattern, given):
        raise InvalidValueError(f"it must be {meta.title}")
    return given


def _parse_boolean(given: object) -> bool | None:
    if isinstance(given, str):
        return _BOOLEANS.get(given.lower())
    return given if isinstance(given, bool) else None


def _parse_number(base: type, given: object) -> float | None:
    if isinstance(given, str):
        pattern = WHOLE_NUMBER if base is int else NUMBER
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


def _describe_type(base: type, meta: Meta) -> str:
    if base is bool:
        return "it must be true or false"
    kind = "a whole number" if base is int else "a number"
    lower = "" if meta.ge is None else f" of at least {meta.ge}"
    if meta.gt is not None:
        lower = f" above {meta.gt}"
    upper = "" if meta.le is None else f" and at most {meta.le}"
    return f"it must be {kind}{lower}{upper}, in plain digits"
