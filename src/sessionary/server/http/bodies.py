"""Decoding (deserialising) request bodies into the structs that declare them.

Bodies are read, within their size limit, in ``requests.py``; ``strict_json.py`` parses the JSON.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from sessionary.errors import FieldError, InvalidJsonError, InvalidRequestError
from sessionary.server.http.strict_json import read_json
from sessionary.server.http.unknown_names import KnownNames
from sessionary.server.operations.validation import to_field_error, validation_error

_JSON_WHITESPACE: Final = b" \t\r\n"


class BodyReader:
    """Decodes a body, a JSON object, into a struct."""

    def __init__(self, struct: type[Struct], *, optional: bool = False) -> None:
        """Decode into ``struct``; ``optional`` means that the body may be absent, empty or null."""
        self._struct: Final = struct
        self._optional: Final = optional
        self._names: Final = KnownNames(struct.__struct_encode_fields__, "The body", "/")

    async def read(self, body: bytes, *, strict: bool = False) -> Any:
        """Decode a body; raises InvalidJsonError, InvalidRequestError or UnknownNameError."""
        if not body.strip(_JSON_WHITESPACE):
            if self._optional:
                return self._struct()
            raise InvalidJsonError("A JSON object is required as the body.")
        value = await read_json(body)
        if value is None and self._optional:
            return self._struct()
        if not isinstance(value, dict):
            raise InvalidRequestError(
                "The body must be a JSON object.", field_errors=(FieldError("", "must be a JSON object."),)
            )
        if not self._names.known.issuperset(value):
            self._names.check(value, strict=strict)
        # The official PHP client encodes an empty map as an empty array.
        if value.get("metadata") == []:
            value["metadata"] = {}
        try:
            return msgspec.convert(value, self._struct)
        except msgspec.ValidationError as error:
            raise validation_error([to_field_error(error, self._struct)]) from None
