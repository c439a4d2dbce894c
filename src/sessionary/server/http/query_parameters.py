"""Reading query strings: only parameters we know count, and those must be unambiguous."""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from sessionary.errors import FieldError, InvalidParameterError
from sessionary.server.http.unknown_names import Names
from sessionary.server.operations.validation import to_field_error

_INTEGER: Final = re.compile(r"[0-9]+|-0*[1-9][0-9]*")
_DIGITS_MAX: Final = 18
_BEYOND: Final = 10**_DIGITS_MAX
"""Beyond every bound: what stands for an integer of more digits."""


class ParameterReader:
    """Reads the parameters a struct declares out of a query string."""

    def __init__(self, kind: type[Struct]) -> None:
        """Learn the names from the struct, and which of them are integers."""
        self._kind: Final = kind
        schema = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
        self._integers: Final = frozenset(name for name, field in schema.items() if "integer" in _types(field))
        self._names: Final = Names(schema, "The query string")

    def read(self, query: bytes, *, strict: bool = False) -> Any:
        """Read a query string into the struct; raises InvalidParameterError, or UnknownNameError."""
        if not query:
            return self._kind()
        try:
            return msgspec.convert(self._given(query, strict=strict), self._kind)
        except msgspec.ValidationError as error:
            field_error = to_field_error(error, self._kind)
            raise _invalid(field_error.pointer.removeprefix("/"), field_error.detail) from None

    def _given(self, query: bytes, *, strict: bool) -> dict[str, str | int]:
        parts = [(_decoded(name), value) for name, _, value in _parts(query)]
        if not self._names.known.issuperset([name for name, _ in parts]):
            self._names.check((name for name, _ in parts), strict=strict)
        given: dict[str, str | int] = {}
        for name, raw_value in parts:
            if name not in self._names.known:
                continue
            value = _decoded(raw_value)
            if value is None:
                raise _invalid(name, "must be UTF-8.")
            if not value:
                raise _invalid(name, "must not be empty.")
            if name in given:
                raise _invalid(name, "must not be given twice.")
            given[name] = self._read_one(name, value)
        return given

    def _read_one(self, name: str, value: str) -> str | int:
        if name not in self._integers:
            return value
        if not _INTEGER.fullmatch(value):
            raise _invalid(name, "must be an integer.")
        if len(value) > _DIGITS_MAX:
            return -_BEYOND if value.startswith("-") else _BEYOND
        return int(value)


def _parts(query: bytes) -> Iterable[tuple[bytes, bytes, bytes]]:
    return (part.partition(b"=") for part in query.split(b"&") if part)


def _types(field: dict[str, Any]) -> Iterable[str]:
    return [option.get("type", "") for option in field.get("anyOf", [field])]


def _decoded(text: bytes) -> str | None:
    try:
        if b"%" in text or b"+" in text:
            text = unquote_to_bytes(text.replace(b"+", b" "))
        return text.decode()
    except UnicodeDecodeError:
        return None


def _invalid(name: str, detail: str) -> InvalidParameterError:
    return InvalidParameterError(f"{name}: {detail}", field_errors=(FieldError(name, detail),))
