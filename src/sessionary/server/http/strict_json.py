"""Strict decoding of JSON: refuses what two JSON readers could understand differently.

msgspec accepts duplicate keys (the last one wins), integers of any size, and nesting of any depth. These are checked
here, with one walk over the decoded values. What would hold the event loop for long is refused before it is decoded:
too many values, and integers of so many digits that converting them takes long.
"""

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from sessionary.constants import INTEGER_MAX, INTEGER_MIN, NESTING_MAX, VALUES_MAX
from sessionary.errors import InvalidJsonError, InvalidRequestError

_decode_fast: Final = msgspec.json.Decoder(Any).decode
_NORMALISE_NUMBERS: Final = bytes.maketrans(b"123456789.E+", b"0000000000e-")
"""Maps all digits and the decimal point to 0, E to e and + to -, so that numbers of one form can be counted."""
_SLOW_NUMBERS: Final = (b"0" * 21, b"e-000", b"e000")
"""More digits than a double has, and exponents near the ends of its range: the fast decoder is slow with these."""
_SLOW_NUMBERS_MAX: Final = 5_000
"""With more of them our own float hook is faster than the fast decoder."""
_SLOW_NUMBERS_REFUSED: Final = 40_000
_CONTAINERS: Final = frozenset({dict, list})
_SHORT_BYTES: Final = VALUES_MAX
"""A value takes at least one byte, so a body of this length cannot have too many values."""
_BEFORE_VALUES: Final = b",[{"
_LONG_DIGITS: Final = 384
_LONG_RUN: Final = b"0" * _LONG_DIGITS
_RUN: Final = re.compile(rb"0+")
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_TRUNCATED: Final = "Input data was truncated"
_LONE_HIGH_SURROGATE: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}[^\\]{1,12}\Z")
_FLOAT_MARKS: Final = (b".", b"e", b"E", b"e+", b"e-", b"E+", b"E-")
"""What is before or after a run of digits that belongs to a float."""


async def read_json(body: bytes) -> Any:
    """Decode a body; a long one in steps, between which other requests are served.

    Raises InvalidJsonError, or InvalidRequestError for JSON that is beyond our limits.
    """
    if len(body) <= _SHORT_BYTES:
        value = _decode(body)
        if body.count(b"{") + body.count(b"[") > NESTING_MAX:
            _check_depth(value)
        keys = count_keys(value)
        if not has_all_keys(body, keys):
            await _check_keys(body, keys)
        return value
    _check_values(body)
    await asyncio.sleep(0)
    await _check_integers(body)
    await asyncio.sleep(0)
    decoder = await _choose_decoder(body)
    await asyncio.sleep(0)
    value = _decode(body, decoder)
    await asyncio.sleep(0)
    _check_depth(value)
    await asyncio.sleep(0)
    keys = count_keys(value)
    await asyncio.sleep(0)
    if not has_all_keys(body, keys):
        await _check_keys(body, keys)
    await asyncio.sleep(0)
    return value


def _decode(body: bytes, decoder: Callable[[bytes], Any] = _decode_fast) -> Any:
    try:
        return decoder(body)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise InvalidJsonError("The body is not valid UTF-8.") from None
    except msgspec.DecodeError as error:
        raise InvalidJsonError(f"The body is not valid JSON: {_reason(error, body)}.") from None


async def _choose_decoder(body: bytes) -> Callable[[bytes], Any]:
    """Choose the faster decoder for a body; raises InvalidRequestError if both would take too long."""
    if _count_slow_numbers(body) <= _SLOW_NUMBERS_MAX:
        return _decode_fast
    await asyncio.sleep(0)
    without_strings = _without_strings(body)
    await asyncio.sleep(0)
    count = _count_slow_numbers(without_strings)
    if count > _SLOW_NUMBERS_REFUSED:
        raise InvalidRequestError(f"The body holds more than {_SLOW_NUMBERS_REFUSED} numbers of more than 20 digits.")
    return _decode_fast if count <= _SLOW_NUMBERS_MAX else _decode_slow_numbers


def _count_slow_numbers(body: bytes) -> int:
    normalised = body.translate(_NORMALISE_NUMBERS)
    return sum(normalised.count(form) for form in _SLOW_NUMBERS)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("Number out of range")
    return value


_decode_slow_numbers: Final = msgspec.json.Decoder(Any, float_hook=_parse_float).decode


async def _check_keys(body: bytes, keys: int) -> None:
    await asyncio.sleep(0)
    if _without_strings(body).count(b":") != keys:
        raise InvalidJsonError("A key appears twice in one object.")


# The next two checks first count in the whole body, which is fast but includes what is inside of strings. They count
# exactly only if that is too much.


def _check_values(body: bytes) -> None:
    if count_values(body) > VALUES_MAX and count_values(_without_strings(body)) > VALUES_MAX:
        raise _too_many_values()


async def _check_integers(body: bytes) -> None:
    if not _has_long_integer(body):
        return
    await asyncio.sleep(0)
    without_strings = _without_strings(body)
    await asyncio.sleep(0)
    if _has_long_integer(without_strings):
        raise _integer_out_of_range()


def count_values(body: bytes) -> int:
    """Return an upper bound of the number of values in JSON: separators inside of strings count too."""
    return 1 + len(body) - len(body.translate(None, _BEFORE_VALUES))


def _has_long_integer(body: bytes) -> bool:
    zeros = body.translate(_DIGITS_TO_ZERO)
    start = zeros.find(_LONG_RUN)
    while start >= 0:
        run = _RUN.match(zeros, start)
        end = run.end() if run else start + 1
        if not (body[max(0, start - 2) : start].endswith(_FLOAT_MARKS) or body.startswith(_FLOAT_MARKS, end)):
            return True
        start = zeros.find(_LONG_RUN, end)
    return False


def _without_strings(body: bytes) -> bytes:
    """Remove the contents of all strings from a body that is JSON."""
    if b"\\" in body:
        # The replacements have the same length, so that nothing is moved.
        body = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    # Each string has two quotes, and at least every other string is a value and not a key.
    if body.count(b'"') > 4 * VALUES_MAX:
        raise _too_many_values()
    return b'"'.join(body.split(b'"')[::2])


def _too_many_values() -> InvalidRequestError:
    return InvalidRequestError(f"The body holds more than {VALUES_MAX} values.")


def _integer_out_of_range() -> InvalidRequestError:
    return InvalidRequestError("An integer is outside of -2^63 to 2^64-1.")


def _reason(error: msgspec.DecodeError, body: bytes) -> str:
    if str(error) == _TRUNCATED and _LONE_HIGH_SURROGATE.search(body):
        # The decoder looks for the other half beyond the end of the body.
        return "half of a utf-16 surrogate pair stands alone"
    return str(error).removeprefix("JSON is malformed: ").partition("\n")[0]


def count_keys(value: Any) -> int:
    """Count the keys of all objects; raises InvalidRequestError for an integer that is out of range."""
    keys = 0
    members = [value]
    for member in members:
        kind = type(member)
        if kind is dict:
            keys += len(member)
            members.extend(member.values())
        elif kind is list:
            members.extend(member)
        elif kind is int and not INTEGER_MIN <= member <= INTEGER_MAX:
            raise _integer_out_of_range()
    return keys


def _check_depth(value: Any) -> None:
    if is_nested_deeper(value, NESTING_MAX):
        raise _too_deep()


def is_nested_deeper(value: Any, levels: int) -> bool:
    """Return whether objects and arrays are nested deeper than ``levels``; looks at one level after the other."""
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(levels):
        if not level:
            return False
        members = (outer.values() if type(outer) is dict else outer for outer in level)
        level = [inner for several in members for inner in several if type(inner) in _CONTAINERS]
    return bool(level)


def _too_deep() -> InvalidRequestError:
    return InvalidRequestError(f"The body is nested deeper than {NESTING_MAX} levels.")


def has_all_keys(body: bytes, keys: int) -> bool:
    """Return whether the decoder certainly dropped no duplicate key; False means that it may have.

    Each key is followed by a colon. If a quote precedes a colon as often as there are decoded keys, and no colon has
    white space before it, no key was dropped. A quote and a colon inside of a string only make the count larger.
    """
    if body.count(b'":') != keys:
        return False
    # Where there are no other colons, none has white space before it: one search instead of four.
    return body.count(b":") == keys or not any(space in body for space in (b" :", b"\t:", b"\n:", b"\r:"))
