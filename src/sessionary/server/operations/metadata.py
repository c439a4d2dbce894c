"""What a session's metadata may hold, and what it may say besides."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sessionary.errors import FieldError
from sessionary.models import Name, Title
from sessionary.server.operations.validation import invalid

JsonObject = Mapping[str, Any]

_encode: Final = msgspec.json.Encoder().encode


def check_metadata(metadata: JsonObject | None) -> None:
    """Raise InvalidRequestError if a key or a text holds the NUL character."""
    # Nearly no metadata holds the six characters that spell NUL; only then is each text looked at.
    if metadata and b"\\u0000" in _encode(metadata) and _holds_nul(metadata):
        raise invalid([FieldError("/metadata", "must not hold the NUL character.")])


def _holds_nul(metadata: JsonObject) -> bool:
    """Look level by level: a walk that went down into each would cost as many steps a text as it is deep."""
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


def title_in(metadata: JsonObject | None) -> str | None:
    """Take the title that metadata carries, if it could be a title."""
    return _usable(metadata.get("title"), Title) if metadata else None


def model_in(metadata: JsonObject | None) -> str | None:
    """Take the model that metadata carries as ``model`` or else as ``modelId``, if it could be one."""
    if not metadata:
        return None
    return _usable(metadata.get("model"), Name) or _usable(metadata.get("modelId"), Name)


def _usable(value: object, kind: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return str(msgspec.convert(value, kind))
    except msgspec.ValidationError:
        return None
