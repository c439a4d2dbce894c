"""Reading query strings: only parameters we know count, and those must be unambiguous."""

import re
from collections.abc import Iterable
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from sessionary.errors import Fault, InvalidParameter
from sessionary.operations.faults import fault_from

Parameters = TypeVar("Parameters", bound=Struct)

_DIGITS: Final = re.compile(r"[0-9]{1,10}")


class ParameterReader:
    """Reads the parameters a struct declares out of a query string."""

    def __init__(self, kind: type[Struct]) -> None:
        """Learn the names from the struct, and which of them are integers."""
        self._kind: Final = kind
        schema = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
        self._integers: Final = frozenset(name for name, field in schema.items() if "integer" in _types(field))
        self._names: Final = frozenset(schema)

    def read(self, query: bytes) -> Any:
        """Read a query string into the struct; raises InvalidParameter."""
        if not query:
            return self._kind()
        try:
            return msgspec.convert(self._given(query), self._kind)
        except msgspec.ValidationError as error:
            fault = fault_from(error)
            raise _invalid(fault.pointer.removeprefix("/"), fault.detail) from None

    def _given(self, query: bytes) -> dict[str, str | int]:
        given: dict[str, str | int] = {}
        for part in query.split(b"&"):
            raw_name, _, raw_value = part.partition(b"=")
            name = _decoded(raw_name, "")
            if name not in self._names:
                continue
            value = _decoded(raw_value, name)
            if not value:
                raise _invalid(name, "It is empty.")
            if name in given:
                raise _invalid(name, "It is given twice.")
            given[name] = self._read_one(name, value)
        return given

    def _read_one(self, name: str, value: str) -> str | int:
        if name not in self._integers:
            return value
        if not _DIGITS.fullmatch(value):
            raise _invalid(name, "Expected a whole number.")
        return int(value)


def _types(field: dict[str, Any]) -> Iterable[str]:
    return [option.get("type", "") for option in field.get("anyOf", [field])]


def _decoded(text: bytes, name: str) -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        if not name:
            return ""
        raise _invalid(name, "It is not valid UTF-8.") from None


def _invalid(name: str, detail: str) -> InvalidParameter:
    return InvalidParameter(f"{name}: {detail}", faults=(Fault(name, detail),))
