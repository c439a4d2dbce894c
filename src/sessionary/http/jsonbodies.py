"""Reading JSON strictly: what two readers could understand differently is refused.

msgspec reads the last of two equal keys, integers of any size and any depth. These are checked here, at a cost of one
walk over the values; only a body whose keys do not add up is read a second time, slowly, to name the key.
"""

import json
from typing import Any, Final

import msgspec

from sessionary.errors import InvalidJson, InvalidRequest
from sessionary.limits import INTEGER_MAX, INTEGER_MIN, NESTING_MAX

_decode: Final = msgspec.json.Decoder(Any).decode
_CONTAINERS: Final = frozenset({dict, list})


def read_json(body: bytes) -> Any:
    """Read a body; raises InvalidJson, or InvalidRequest for what is JSON but not for us."""
    try:
        value = _decode(body)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise InvalidJson("The body is not valid UTF-8.") from None
    except msgspec.DecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: {_reason(error)}.") from None
    keys = _count_keys(value)
    if not _keys_add_up(body, keys):
        _refuse_duplicate_keys(body)
    return value


def _reason(error: msgspec.DecodeError) -> str:
    return str(error).removeprefix("JSON is malformed: ").partition("\n")[0]


def _count_keys(value: Any) -> int:
    """Count the keys of all objects, level by level, refusing what is too deep or too large a number."""
    keys = 0
    level: list[Any] = [value]
    for depth in range(NESTING_MAX + 1):
        below: list[Any] = []
        for member in level:
            kind = type(member)
            if kind is dict:
                keys += len(member)
                below.extend(member.values())
            elif kind is list:
                below.extend(member)
            elif kind is int and not INTEGER_MIN <= member <= INTEGER_MAX:
                raise InvalidRequest("An integer is outside of -2^63 to 2^64-1.")
        if depth == NESTING_MAX and any(type(member) in _CONTAINERS for member in level):
            break
        if not below:
            return keys
        level = below
    raise _too_deep()


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body is nested deeper than {NESTING_MAX} levels.")


def _keys_add_up(body: bytes, keys: int) -> bool:
    # Each key is followed by a colon. If there are as many quotes before a colon as keys were kept, and no white space
    # stands before any colon, then none was dropped. A quote before a colon inside a text only makes the count larger.
    if body.count(b'":') != keys:
        return False
    # Where there are no other colons, none has white space before it: one search instead of four.
    return body.count(b":") == keys or not any(white in body for white in (b" :", b"\t:", b"\n:", b"\r:"))


def _refuse_duplicate_keys(body: bytes) -> None:
    json.loads(body, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise InvalidJson("A key appears twice in one object.")
        seen.add(key)
