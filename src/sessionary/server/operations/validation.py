"""Turning decoding errors into field errors that a caller can act on: which member is wrong, and what it must be."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from sessionary.errors import FieldError, InvalidRequestError

_FIELD_ERRORS_MAX: Final = 20
_PATH_START: Final = " - at `"
_PATH: Final = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)
_PATH_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_NUMBER: Final = re.compile(r"Expected `\w+` (>=|<=) (-?[0-9]+)")
_LENGTH: Final = re.compile(r"Expected `(\w+)` of length (>=|<=) ([0-9]+)")
_COMPARISONS: Final = {">=": "at least", "<=": "at most"}
_UNITS: Final = {"str": "character", "array": "item", "object": "member"}

_Schema = dict[str, Any]


def validation_error(field_errors: Sequence[FieldError]) -> InvalidRequestError:
    """Make one error of several field errors: the first becomes its detail, and at most 20 are listed."""
    first = field_errors[0]
    return InvalidRequestError(
        f"{first.pointer or 'The body'}: {first.detail}", field_errors=tuple(field_errors[:_FIELD_ERRORS_MAX])
    )


def to_field_error(error: msgspec.ValidationError, kind: type[Struct]) -> FieldError:
    """Convert msgspec's error for a struct to a JSON pointer and a sentence that does not repeat the invalid value."""
    text = str(error)
    # The path is the last part: the text before it may contain a value of the caller, of any length and content.
    path = _PATH.match(text, max(0, text.rfind(_PATH_START)))
    steps = [name or number for name, number in _PATH_STEP.findall(path[1])] if path else []
    pointer = "".join(f"/{step}" for step in steps)
    message = text[: path.start()] if path else text
    if missing := _MISSING.match(message):
        return FieldError(f"{pointer}/{missing[1]}", "is required.")
    return FieldError(pointer, f"{_describe_error(message, _schema_at(kind, steps))}.")


def _describe_error(message: str, schema: _Schema) -> str:
    if number := _NUMBER.match(message):
        return f"must be {_COMPARISONS[number[1]]} {number[2]}"
    if length := _LENGTH.match(message):
        unit = _UNITS.get(length[1], "item")
        return f"must have {_COMPARISONS[length[2]]} {length[3]} {unit}{'' if length[3] == '1' else 's'}"
    if "matching regex" in message:
        return "must not contain control characters"
    return f"must be {_describe_schema(schema)}"


def _describe_schema(schema: _Schema) -> str:
    if "enum" in schema:
        return f"one of: {', '.join(schema['enum'])}"
    match schema.get("type"):
        case "integer":
            return (
                f"an integer from {schema['minimum']} to {schema['maximum']}" if "maximum" in schema else "an integer"
            )
        case "string":
            lengths = (schema.get("minLength", 0), schema.get("maxLength"))
            return "a string" if lengths[1] is None else f"a string of {lengths[0]} to {lengths[1]} characters"
        case "array":
            return "an array of objects"
        case _:
            return "an object"


def _schema_at(kind: type[Struct], steps: Sequence[str]) -> _Schema:
    """Return the JSON schema of the value at the end of a path of member names and array indexes."""
    schema = _schema_of(kind)
    for step in steps:
        schema = _without_null(schema.get("properties", {}).get(step) or schema.get("items") or {})
    return schema


def _without_null(schema: _Schema) -> _Schema:
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return options[0] if len(options) == 1 else schema


@lru_cache(maxsize=16)
def _schema_of(kind: type[Struct]) -> _Schema:
    schema: _Schema = msgspec.json.schema(kind)["$defs"][kind.__name__]
    return schema
