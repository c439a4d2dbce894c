"""Checking a session's metadata, and reading a title and a model from it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sessionary.errors import FieldError
from sessionary.models import Name, Title
from sessionary.server.operations.validation import validation_error

JsonObject = Mapping[str, Any]

_encode: Final = msgspec.json.Encoder().encode


def check_metadata(metadata: JsonObject | None) -> None:
    """Raise InvalidRequestError if any key or string contains the NUL character."""
    # Encoded, NUL is the six characters \u0000. They are rare, so each string is checked only where they occur.
    if metadata and b"\\u0000" in _encode(metadata) and _contains_nul(metadata):
        raise validation_error([FieldError("/metadata", "must not contain the NUL character.")])


def _contains_nul(metadata: JsonObject) -> bool:
    """Search level by level instead of recursively: nested generators would cost each string its depth in steps."""
    level: list[Any] = [metadata]
    while level:
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if "\0" in value:
                    return True
            elif isinstance(value, Mapping):
                if any("\0" in key for key in value):
                    return True
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        level = below
    return False


def title_from_metadata(metadata: JsonObject | None) -> str | None:
    """Return ``title`` from the metadata if it is a valid title."""
    return _valid_or_none(metadata.get("title"), Title) if metadata else None


def model_from_metadata(metadata: JsonObject | None) -> str | None:
    """Return ``model``, or else ``modelId``, from the metadata if it is a valid model name."""
    if not metadata:
        return None
    return _valid_or_none(metadata.get("model"), Name) or _valid_or_none(metadata.get("modelId"), Name)


def _valid_or_none(value: object, kind: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return str(msgspec.convert(value, kind))
    except msgspec.ValidationError:
        return None
