"""What is wrong with a request, in words a caller can act on: which bound was broken, and what may stand there."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from sessionary.errors import FieldError, InvalidRequestError

_FAULTS_SHOWN_MAX: Final = 20
_AT: Final = " - at `"
_WHERE: Final = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_NUMBER: Final = re.compile(r"Expected `\w+` (>=|<=) (-?[0-9]+)")
_LENGTH: Final = re.compile(r"Expected `(\w+)` of length (>=|<=) ([0-9]+)")
_BOUND: Final = {">=": "at least", "<=": "at most"}
_COUNTED: Final = {"str": "character", "array": "item", "object": "member"}

_Schema = dict[str, Any]


def invalid(field_errors: Sequence[FieldError]) -> InvalidRequestError:
    """Make one error of several faults: the first is its detail, at most twenty are listed."""
    first = field_errors[0]
    return InvalidRequestError(
        f"{first.pointer or 'The body'}: {first.detail}", field_errors=tuple(field_errors[:_FAULTS_SHOWN_MAX])
    )


def field_error_from(error: msgspec.ValidationError, kind: type[Struct]) -> FieldError:
    """Turn what the decoder of a struct says into a JSON pointer and a sentence, without the value that was given."""
    text = str(error)
    # Before it may stand a value of the caller's, of any length and with anything in it.
    where = _WHERE.match(text, max(0, text.rfind(_AT)))
    steps = [name or number for name, number in _STEP.findall(where[1])] if where else []
    pointer = "".join(f"/{step}" for step in steps)
    said = text[: where.start()] if where else text
    if missing := _MISSING.match(said):
        return FieldError(f"{pointer}/{missing[1]}", "is required.")
    return FieldError(pointer, f"{_sentence(said, _schema_at(kind, steps))}.")


def _sentence(said: str, schema: _Schema) -> str:
    # What it was instead is the caller's, and may be a secret.
    if number := _NUMBER.match(said):
        return f"must be {_BOUND[number[1]]} {number[2]}"
    if length := _LENGTH.match(said):
        counted = _COUNTED.get(length[1], "item")
        return f"must have {_BOUND[length[2]]} {length[3]} {counted}{'' if length[3] == '1' else 's'}"
    if "matching regex" in said:
        return "must not contain control characters"
    return f"must be {_described(schema)}"


def _described(schema: _Schema) -> str:
    """Say what a value must be."""
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
    """Find what the struct says of the place that the steps lead to."""
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
