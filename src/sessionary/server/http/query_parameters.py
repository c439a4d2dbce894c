"""Decoding of query strings into the structs that declare their parameters."""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from sessionary.errors import FieldError, InvalidParameterError
from sessionary.server.http.unknown_names import KnownNames
from sessionary.server.operations.validation import to_field_error

_INTEGER: Final = re.compile(r"[0-9]+|-0*[1-9][0-9]*")
_DIGITS_MAX: Final = 18
_OUT_OF_RANGE: Final = 10**_DIGITS_MAX
"""Stands for any integer of more digits: it is beyond every limit of a parameter."""


class ParameterReader:
    """Decodes a query string into a struct; a parameter must not be repeated or empty."""

    def __init__(self, struct: type[Struct]) -> None:
        """Decode into ``struct``."""
        self._struct: Final = struct
        schema = msgspec.json.schema(struct)["$defs"][struct.__name__]["properties"]
        self._integers: Final = frozenset(name for name, field in schema.items() if "integer" in _types(field))
        self._names: Final = KnownNames(schema, "The query string")

    def read(self, query: bytes, *, strict: bool = False) -> Any:
        """Decode a query string; raises InvalidParameterError or UnknownNameError."""
        if not query:
            return self._struct()
        try:
            return msgspec.convert(self._values(query, strict=strict), self._struct)
        except msgspec.ValidationError as error:
            field_error = to_field_error(error, self._struct)
            raise _invalid(field_error.pointer.removeprefix("/"), field_error.detail) from None

    def _values(self, query: bytes, *, strict: bool) -> dict[str, str | int]:
        parts = [(_decode(name), value) for name, _, value in _split(query)]
        if not self._names.known.issuperset([name for name, _ in parts]):
            self._names.check((name for name, _ in parts), strict=strict)
        values: dict[str, str | int] = {}
        for name, raw_value in parts:
            if name not in self._names.known:
                continue
            value = _decode(raw_value)
            if value is None:
                raise _invalid(name, "must be UTF-8.")
            if not value:
                raise _invalid(name, "must not be empty.")
            if name in values:
                raise _invalid(name, "must not be given twice.")
            values[name] = self._parse(name, value)
        return values

    def _parse(self, name: str, value: str) -> str | int:
        if name not in self._integers:
            return value
        if not _INTEGER.fullmatch(value):
            raise _invalid(name, "must be an integer.")
        if len(value) > _DIGITS_MAX:
            return -_OUT_OF_RANGE if value.startswith("-") else _OUT_OF_RANGE
        return int(value)


def _split(query: bytes) -> Iterable[tuple[bytes, bytes, bytes]]:
    return (part.partition(b"=") for part in query.split(b"&") if part)


def _types(field: dict[str, Any]) -> Iterable[str]:
    return [option.get("type", "") for option in field.get("anyOf", [field])]


def _decode(text: bytes) -> str | None:
    try:
        if b"%" in text or b"+" in text:
            text = unquote_to_bytes(text.replace(b"+", b" "))
        return text.decode()
    except UnicodeDecodeError:
        return None


def _invalid(name: str, detail: str) -> InvalidParameterError:
    return InvalidParameterError(f"{name}: {detail}", field_errors=(FieldError(name, detail),))
