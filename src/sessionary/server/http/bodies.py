"""Reading bodies: an object whose members have names that are known, into the struct that declares them."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from sessionary.errors import FieldError, InvalidJsonError, InvalidRequestError
from sessionary.server.http.strict_json import read_json
from sessionary.server.http.unknown_names import Names
from sessionary.server.operations.validation import to_field_error, validation_error

_JSON_SPACE: Final = b" \t\r\n"


class BodyReader:
    """Reads the members a struct declares out of a body."""

    def __init__(self, kind: type[Struct], *, optional: bool = False) -> None:
        """Learn the names from the struct; ``optional`` says that the body may be absent, empty or null."""
        self._kind: Final = kind
        self._optional: Final = optional
        self._names: Final = Names(kind.__struct_encode_fields__, "The body", "/")

    async def read(self, body: bytes, *, strict: bool = False) -> Any:
        """Read a body into the struct; raises InvalidJsonError, InvalidRequestError or UnknownNameError."""
        if not body.strip(_JSON_SPACE):
            if self._optional:
                return self._kind()
            raise InvalidJsonError("A JSON object is required as the body.")
        value = await read_json(body)
        if value is None and self._optional:
            return self._kind()
        if not isinstance(value, dict):
            raise InvalidRequestError(
                "The body must be a JSON object.", field_errors=(FieldError("", "must be a JSON object."),)
            )
        if not self._names.known.issuperset(value):
            self._names.check(value, strict=strict)
        # The official PHP client encodes an empty map so.
        if value.get("metadata") == []:
            value["metadata"] = {}
        try:
            return msgspec.convert(value, self._kind)
        except msgspec.ValidationError as error:
            raise validation_error([to_field_error(error, self._kind)]) from None
