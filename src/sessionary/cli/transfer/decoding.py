"""Decoding a record's JSON: strictly where it is sound, and as far as it goes where it is not."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from sessionary.cli.transfer.conversation import Findings
from sessionary.cli.transfer.reasons import UnreadableError
from sessionary.constants import INTEGER_MAX, INTEGER_MIN

_decode: Final = msgspec.json.Decoder(Any).decode
_SURELY_SMALL_DIGITS: Final = 18
_MANY_DIGITS: Final = re.compile(rb"\d{19}")
_SURROGATE_ESCAPES: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_NAMES: Final = ("user_id", "user", "session_group", "model")
"""Members that name somebody or something, of the formats that have them."""
_HASH_LETTERS: Final = 16
_NESTING_READ_MAX: Final = 200
"""What is nested deeper than this is not decoded, but kept as the text it stands in."""
_STRING: Final = r'"(?>[^"\\]+|\\.?)*+(?:"|\Z)'
"""A string, or what begins one and goes on to the end: so that it is read once."""
_MARKS: Final = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)


def decode(text: bytes, findings: Findings) -> Any:
    """Decode a record; what had to be changed is counted. Raises UnreadableError."""
    reason = "It is not valid JSON."
    if not _MANY_DIGITS.search(text):
        try:
            value = _decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = _reason(error)
        else:
            if _keys_add_up(text, value):
                return value
    return _Lenient(findings).decode(text, reason)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "It is nested too deeply."
    detail = str(error).removeprefix("JSON is malformed: ").partition("\n")[0]
    ends = " It ends too early: the file may have been cut off." if "truncated" in detail else ""
    return f"It is not valid JSON: {detail}.{ends}"


def _keys_add_up(text: bytes, value: Any) -> bool:
    """Tell whether surely no key was dropped for an equal one; the server's reader tells why this is right."""
    keys, level = 0, [value]
    while level:
        below: list[Any] = []
        for member in level:
            if type(member) is dict:
                keys += len(member)
                below.extend(member.values())
            elif type(member) is list:
                below.extend(member)
        level = below
    if text.count(b'":') != keys:
        return False
    return text.count(b":") == keys or not any(white in text for white in (b" :", b"\t:", b"\n:", b"\r:"))


def _told_apart(name: str) -> str:
    """Add a digest to a name of which a letter will be replaced: two names must not become one."""
    if not _SURROGATES.search(name):
        return name
    return f"{name}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:_HASH_LETTERS]}"


class _Lenient:
    """Reads what a strict reader refuses, and counts it."""

    def __init__(self, findings: Findings) -> None:
        self._findings: Final = findings

    def decode(self, text: bytes, reason: str) -> Any:
        try:
            letters = text.decode()
        except UnicodeDecodeError:
            letters = text.decode("utf-8", "replace")
            self._findings.mend("bytes that are no UTF-8, replaced by U+FFFD")
        letters = self._flattened(letters.lstrip("\ufeff"))
        try:
            value = json.loads(
                letters,
                strict=False,
                object_pairs_hook=self._object,
                parse_float=self._float,
                parse_int=self._integer,
                parse_constant=self._constant,
            )
        except (ValueError, RecursionError):
            raise UnreadableError(reason) from None
        if _SURROGATE_ESCAPES.search(letters):
            if isinstance(value, dict):
                value |= {name: _told_apart(value[name]) for name in _NAMES if isinstance(value.get(name), str)}
            value = self._without_surrogates(value)
        return value

    def _flattened(self, letters: str) -> str:
        """Put what is nested too deeply into strings, so that the rest can be read."""
        cuts: list[tuple[int, int]] = []
        depth = start = 0
        for found in _MARKS.finditer(letters):
            mark = found[0]
            if mark in "{[":
                depth += 1
                start = found.start() if depth == _NESTING_READ_MAX + 1 else start
            elif mark in "}]":
                if depth == _NESTING_READ_MAX + 1:
                    cuts.append((start, found.end()))
                depth -= 1
        kept: list[str] = []
        at = 0
        for begin, end in cuts:
            kept += [letters[at:begin], json.dumps(letters[begin:end])]
            at = end
            self._findings.mend("nested too deeply, kept as text")
        return "".join([*kept, letters[at:]]) if cuts else letters

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            seen: dict[str, Any] = {}
            for key, member in pairs:
                if key in seen:
                    reason = "equal keys in one object: the last one counts"
                    self._findings.set_aside(
                        _SURROGATES.sub("\ufffd", key), reason, self._without_surrogates(seen[key])
                    )
                seen[key] = member
        return value

    def _float(self, digits: str) -> float | str:
        value = float(digits)
        return value if value - value == 0 else self._as_text(digits)

    def _integer(self, digits: str) -> int | str:
        if len(digits) <= _SURELY_SMALL_DIGITS:
            return int(digits)
        fits = len(digits) <= len(str(INTEGER_MIN)) and INTEGER_MIN <= int(digits) <= INTEGER_MAX
        return int(digits) if fits else self._as_text(digits)

    def _constant(self, name: str) -> str:
        return self._as_text(name)

    def _as_text(self, digits: str) -> str:
        self._findings.mend("number that JSON or the server cannot hold, kept as text")
        return digits

    def _without_surrogates(self, value: Any) -> Any:
        return mapped_texts(value, self._without_surrogates_in)

    def _without_surrogates_in(self, text: str) -> str:
        if text.isascii() or not _SURROGATES.search(text):
            return text
        self._findings.mend("half of a character (lone surrogate), replaced by U+FFFD")
        return _SURROGATES.sub("\ufffd", text)


def mapped_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Change every text in a value, keys included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [mapped_texts(member, change) for member in value]
    if isinstance(value, dict):
        changed: dict[str, Any] = {}
        for key, member in value.items():
            name = change(key)
            while name in changed:
                name += "\ufffd"
            changed[name] = mapped_texts(member, change)
        return changed
    return value
