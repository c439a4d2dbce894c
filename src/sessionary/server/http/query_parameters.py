"""Decoding of query strings into the structs that declare their parameters."""

import re
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
        self._integers: Final = frozenset(name for name, field in schema.items() if _is_integer(field))
        self._names: Final = KnownNames(schema, "The query string")

    def read(self, query: bytes, *, strict: bool = False) -> Any:
        """Decode a query string; raises InvalidParameterError or UnknownNameError."""
        if not query:
            return self._struct()
        try:
            return msgspec.convert(self._values(query, strict=strict), self._struct)
        except msgspec.ValidationError as error:
            field_error = to_field_error(error, self._struct)
            raise invalid_parameter(field_error.pointer.removeprefix("/"), field_error.detail) from None

    def _values(self, query: bytes, *, strict: bool) -> dict[str, str | int]:
        split = (part.partition(b"=") for part in query.split(b"&") if part)
        parts = [(_decode(name), value) for name, _, value in split]
        if not self._names.known.issuperset([name for name, _ in parts]):
            self._names.check((name for name, _ in parts), strict=strict)
        values: dict[str, str | int] = {}
        for name, raw_value in parts:
            if name not in self._names.known:
                continue
            value = _decode(raw_value)
            if value is None:
                raise invalid_parameter(name, "must be UTF-8.")
            if not value:
                raise invalid_parameter(name, "must not be empty.")
            if name in values:
                raise invalid_parameter(name, "must not be given twice.")
            values[name] = self._parse(name, value)
        return values

    def _parse(self, name: str, value: str) -> str | int:
        if name not in self._integers:
            return value
        if not _INTEGER.fullmatch(value):
            raise invalid_parameter(name, "must be an integer.")
        if len(value) > _DIGITS_MAX:
            return -_OUT_OF_RANGE if value.startswith("-") else _OUT_OF_RANGE
        return int(value)


def _is_integer(schema: dict[str, Any]) -> bool:
    return any(option.get("type") == "integer" for option in schema.get("anyOf", [schema]))


def _decode(text: bytes) -> str | None:
    try:
        if b"%" in text or b"+" in text:
            text = unquote_to_bytes(text.replace(b"+", b" "))
        return text.decode()
    except UnicodeDecodeError:
        return None


def invalid_parameter(name: str, detail: str) -> InvalidParameterError:
    """Return the error for a parameter."""
    return InvalidParameterError(f"{name}: {detail}", field_errors=(FieldError(name, detail),))
