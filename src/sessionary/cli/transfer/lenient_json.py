"""Decodes a record's JSON: strictly where it is valid, leniently where it is not."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from sessionary.cli.transfer.conversation import ConversionLog
from sessionary.cli.transfer.errors import RecordError
from sessionary.constants import INTEGER_MAX, INTEGER_MIN
from sessionary.server.http.strict_json import count_keys, has_all_keys

_decode: Final = msgspec.json.Decoder(Any).decode
_SURELY_SMALL_DIGITS: Final = 18
_MANY_DIGITS: Final = re.compile(rb"\d{19}")
_SURROGATE_ESCAPES: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_NAMES: Final = ("user_id", "user", "session_group", "model")
"""Members that hold names, which must stay distinct."""
_HASH_LETTERS: Final = 16
_NESTING_READ_MAX: Final = 200
"""Values that are nested deeper are not decoded but kept as JSON text."""
_STRING: Final = r'"(?>[^"\\]+|\\.?)*+(?:"|\Z)'
"""A string; an unclosed one extends to the end, so that matching takes linear time."""
_TOKENS: Final = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)


def decode_record(text: bytes, log: ConversionLog) -> Any:
    """Decode a record and log the changes that were needed; raises RecordError."""
    reason = "It is not valid JSON."
    if not _MANY_DIGITS.search(text):
        try:
            value = _decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = _reason(error)
        else:
            # All integers are in the range: none has 19 digits.
            if has_all_keys(text, count_keys(value)):
                return value
    return _LenientDecoder(log).decode(text, reason)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "It is nested too deeply."
    detail = str(error).removeprefix("JSON is malformed: ").partition("\n")[0]
    ends = " It ends too early: the file may have been cut off." if "truncated" in detail else ""
    return f"It is not valid JSON: {detail}.{ends}"


def _with_digest(name: str) -> str:
    """Append a digest to a name with characters that will be replaced, so that distinct names stay distinct."""
    if not _SURROGATES.search(name):
        return name
    return f"{name}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:_HASH_LETTERS]}"


class _LenientDecoder:
    """Decodes what a strict decoder rejects, and logs each change."""

    def __init__(self, log: ConversionLog) -> None:
        self._log: Final = log

    def decode(self, text: bytes, reason: str) -> Any:
        try:
            characters = text.decode()
        except UnicodeDecodeError:
            characters = text.decode("utf-8", "replace")
            self._log.record_change("bytes that are not UTF-8, replaced by U+FFFD")
        characters = self._with_limited_nesting(characters.lstrip("\ufeff"))
        try:
            value = json.loads(
                characters,
                strict=False,
                object_pairs_hook=self._object,
                parse_float=self._float,
                parse_int=self._integer,
                parse_constant=self._as_text,
            )
        except (ValueError, RecursionError):
            raise RecordError(reason) from None
        if _SURROGATE_ESCAPES.search(characters):
            if isinstance(value, dict):
                value |= {name: _with_digest(value[name]) for name in _NAMES if isinstance(value.get(name), str)}
            value = self._without_surrogates(value)
        return value

    def _with_limited_nesting(self, characters: str) -> str:
        """Turn values that are nested too deeply into strings, so that the rest can be decoded."""
        cuts: list[tuple[int, int]] = []
        depth = start = 0
        for found in _TOKENS.finditer(characters):
            bracket = found[0]
            if bracket in "{[":
                depth += 1
                start = found.start() if depth == _NESTING_READ_MAX + 1 else start
            elif bracket in "}]":
                if depth == _NESTING_READ_MAX + 1:
                    cuts.append((start, found.end()))
                depth -= 1
        parts: list[str] = []
        position = 0
        for begin, end in cuts:
            parts += [characters[position:begin], json.dumps(characters[begin:end])]
            position = end
            self._log.record_change("nested too deeply, kept as text")
        return "".join([*parts, characters[position:]]) if cuts else characters

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            seen: dict[str, Any] = {}
            for key, member in pairs:
                if key in seen:
                    reason = "duplicate keys in one object: the last one is used"
                    self._log.exclude(_SURROGATES.sub("\ufffd", key), reason, self._without_surrogates(seen[key]))
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

    def _as_text(self, digits: str) -> str:
        self._log.record_change("number outside of JSON's or the server's range, kept as text")
        return digits

    def _without_surrogates(self, value: Any) -> Any:
        return map_strings(value, self._without_surrogates_in)

    def _without_surrogates_in(self, text: str) -> str:
        if text.isascii() or not _SURROGATES.search(text):
            return text
        self._log.record_change("lone surrogate, replaced by U+FFFD")
        return _SURROGATES.sub("\ufffd", text)


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Apply ``change`` to every string in a value, keys included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_strings(member, change) for member in value]
    if isinstance(value, dict):
        changed: dict[str, Any] = {}
        for key, member in value.items():
            name = change(key)
            while name in changed:
                name += "\ufffd"
            changed[name] = map_strings(member, change)
        return changed
    return value
