"""Reading JSON strictly: what two readers could understand differently is refused.

msgspec reads the last of two equal keys, integers of any size and any depth. These are checked here, at a cost of one
walk over the values. What would hold up everybody else is refused before it is decoded: too many values, and integers
of so many digits that turning them into numbers takes long.
"""

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from sessionary.constants import INTEGER_MAX, INTEGER_MIN, NESTING_MAX, VALUES_MAX
from sessionary.errors import InvalidJsonError, InvalidRequestError

_decode: Final = msgspec.json.Decoder(Any).decode
_AS_MARKS: Final = bytes.maketrans(b"123456789.E+", b"0000000000e-")
_HARD_MARKS: Final = (b"0" * 21, b"e-000", b"e000")
"""More digits than a double has, and exponents near the ends of its range: these take the decoder long."""
_HARD_MAX: Final = 5_000
_HARD_REFUSED: Final = 40_000
_CONTAINERS: Final = frozenset({dict, list})
_SHORT_BYTES: Final = VALUES_MAX
"""Each value takes a byte at least: in so few bytes there cannot be too many."""
_BEFORE_VALUES: Final = b",[{"
_LONG_DIGITS: Final = 384
_LONG_RUN: Final = b"0" * _LONG_DIGITS
_RUN: Final = re.compile(rb"0+")
_AS_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_TRUNCATED: Final = "Input data was truncated"
_HALF_A_PAIR: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}[^\\]{1,12}\Z")
_OF_A_FLOAT: Final = (b".", b"e", b"E", b"e+", b"e-", b"E+", b"E-")
"""What stands before digits that are no integer, and what stands after them."""


async def read_json(body: bytes) -> Any:
    """Read a body, a long one in steps between which others have their turn.

    Raises InvalidJsonError, or InvalidRequestError for what is JSON but not for us.
    """
    if len(body) <= _SHORT_BYTES:
        value = _decoded(body)
        if body.count(b"{") + body.count(b"[") > NESTING_MAX:
            _check_depth(value)
        keys = _count_keys(value)
        if not _keys_add_up(body, keys):
            await _check_keys(body, keys)
        return value
    _check_values(body)
    await asyncio.sleep(0)
    await _check_digits(body)
    await asyncio.sleep(0)
    decode = await _decoder_for(body)
    await asyncio.sleep(0)
    value = _decoded(body, decode)
    await asyncio.sleep(0)
    _check_depth(value)
    await asyncio.sleep(0)
    keys = _count_keys(value)
    await asyncio.sleep(0)
    if not _keys_add_up(body, keys):
        await _check_keys(body, keys)
    await asyncio.sleep(0)
    return value


def _decoded(body: bytes, decode: Callable[[bytes], Any] = _decode) -> Any:
    try:
        return decode(body)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise InvalidJsonError("The body is not valid UTF-8.") from None
    except msgspec.DecodeError as error:
        raise InvalidJsonError(f"The body is not valid JSON: {_reason(error, body)}.") from None


async def _decoder_for(body: bytes) -> Callable[[bytes], Any]:
    """Choose the decoder that takes less time: ours is slower, but never by much."""
    if _weigh_numbers(body) <= _HARD_MAX:
        return _decode
    await asyncio.sleep(0)
    outside = _outside_of_texts(body)
    await asyncio.sleep(0)
    weight = _weigh_numbers(outside)
    if weight > _HARD_REFUSED:
        raise InvalidRequestError(f"The body holds more than {_HARD_REFUSED} numbers of more than 20 digits.")
    return _decode if weight <= _HARD_MAX else _decode_hard


def _weigh_numbers(body: bytes) -> int:
    marks = body.translate(_AS_MARKS)
    return sum(marks.count(mark) for mark in _HARD_MARKS)


def _read_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("Number out of range")
    return value


_decode_hard: Final = msgspec.json.Decoder(Any, float_hook=_read_float).decode


async def _check_keys(body: bytes, keys: int) -> None:
    await asyncio.sleep(0)
    if _outside_of_texts(body).count(b":") != keys:
        raise InvalidJsonError("A key appears twice in one object.")


# Of both: first a fast look, which counts what stands in texts too, and an exact one only where that is too much.


def _check_values(body: bytes) -> None:
    if _count_values(body) > VALUES_MAX and _count_values(_outside_of_texts(body)) > VALUES_MAX:
        raise _too_many()


async def _check_digits(body: bytes) -> None:
    if not _has_long_integer(body):
        return
    await asyncio.sleep(0)
    outside = _outside_of_texts(body)
    await asyncio.sleep(0)
    if _has_long_integer(outside):
        raise _too_large()


def _count_values(body: bytes) -> int:
    return 1 + len(body) - len(body.translate(None, _BEFORE_VALUES))


def _has_long_integer(body: bytes) -> bool:
    zeros = body.translate(_AS_ZEROS)
    begin = zeros.find(_LONG_RUN)
    while begin >= 0:
        run = _RUN.match(zeros, begin)
        end = run.end() if run else begin + 1
        if not (body[max(0, begin - 2) : begin].endswith(_OF_A_FLOAT) or body.startswith(_OF_A_FLOAT, end)):
            return True
        begin = zeros.find(_LONG_RUN, end)
    return False


def _outside_of_texts(body: bytes) -> bytes:
    """Take out all texts of a body that is JSON."""
    if b"\\" in body:
        # Of the same length, they are replaced in place.
        body = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    # Each text takes two quotes, and at least every other text is a value.
    if body.count(b'"') > 4 * VALUES_MAX:
        raise _too_many()
    return b'"'.join(body.split(b'"')[::2])


def _too_many() -> InvalidRequestError:
    return InvalidRequestError(f"The body holds more than {VALUES_MAX} values.")


def _too_large() -> InvalidRequestError:
    return InvalidRequestError("An integer is outside of -2^63 to 2^64-1.")


def _reason(error: msgspec.DecodeError, body: bytes) -> str:
    if str(error) == _TRUNCATED and _HALF_A_PAIR.search(body):
        # The other half is looked for beyond the end.
        return "half of a utf-16 surrogate pair stands alone"
    return str(error).removeprefix("JSON is malformed: ").partition("\n")[0]


def _count_keys(value: Any) -> int:
    """Count the keys of all objects, refusing too large a number."""
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
            raise _too_large()
    return keys


def _check_depth(value: Any) -> None:
    """Refuse containers that are nested too deep, looking level by level."""
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(NESTING_MAX):
        members = (outer.values() if type(outer) is dict else outer for outer in level)
        level = [inner for several in members for inner in several if type(inner) in _CONTAINERS]
    if level:
        raise _too_deep()


def _too_deep() -> InvalidRequestError:
    return InvalidRequestError(f"The body is nested deeper than {NESTING_MAX} levels.")


def _keys_add_up(body: bytes, keys: int) -> bool:
    # Each key is followed by a colon. If there are as many quotes before a colon as keys were kept, and no white space
    # stands before any colon, then none was dropped. A quote before a colon inside a text only makes the count larger.
    if body.count(b'":') != keys:
        return False
    # Where there are no other colons, none has white space before it: one search instead of four.
    return body.count(b":") == keys or not any(white in body for white in (b" :", b"\t:", b"\n:", b"\r:"))
