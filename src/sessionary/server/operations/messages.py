"""Checking the messages of a request and encoding them for the store, with every member they were sent with."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from sessionary.constants import MESSAGE_BYTES_MAX
from sessionary.errors import FieldError
from sessionary.models import Role, message_error
from sessionary.server.operations.validation import validation_error
from sessionary.server.store.base import MessageTimes
from sessionary.timestamps import parse_timestamp

_encode: Final = msgspec.json.Encoder().encode
_ROLES: Final = frozenset(get_args(Role))


class NewMessages(Struct, frozen=True):
    """Encoded messages, their creation times if they are imported, and the text of the first user message."""

    messages: tuple[bytes, ...]
    first_user_text: str | None
    times: MessageTimes = None


def parse_messages(messages: Sequence[Mapping[str, Any]], pointer: str, imported_at: int | None = None) -> NewMessages:
    """Check and encode messages; ``pointer`` is the JSON pointer of their array in the request.

    With ``imported_at``, messages keep their own ``created_at``, which must not be later than ``imported_at``. Raises
    InvalidRequestError, which lists every invalid message.
    """
    field_errors: list[FieldError] = []
    encoded: list[bytes] = []
    first_user_text: str | None = None
    for number, message in enumerate(messages):
        field_error = _check_message(message)
        if field_error is not None:
            field_errors.append(FieldError(f"{pointer}/{number}{field_error.pointer}", field_error.detail))
            continue
        if first_user_text is None and message.get("role") == "user":
            first_user_text = _text_content(message.get("content"))
        body = _encode(_without_created_at(message))
        if len(body) > MESSAGE_BYTES_MAX:
            field_errors.append(
                FieldError(f"{pointer}/{number}", f"must take at most {MESSAGE_BYTES_MAX} bytes of JSON.")
            )
        encoded.append(body)
    times = None if imported_at is None else _parse_times(messages, pointer, imported_at, field_errors)
    if field_errors:
        raise validation_error(field_errors)
    return NewMessages(tuple(encoded), first_user_text, times)


def parse_creation_time(value: object, pointer: str, imported_at: int) -> int | FieldError:
    """Parse the creation time of something imported, in milliseconds since 1970, or return what is wrong with it."""
    time = parse_timestamp(value) if isinstance(value, str) else None
    if time is None:
        return FieldError(pointer, "must be an RFC 3339 timestamp with an offset, such as 2026-11-22T22:09:00.123Z.")
    if time < 0:
        return FieldError(pointer, "must not be before 1970.")
    return time if time <= imported_at else FieldError(pointer, "must not be in the future.")


def _parse_times(
    messages: Sequence[Mapping[str, Any]], pointer: str, imported_at: int, field_errors: list[FieldError]
) -> tuple[int | None, ...] | None:
    times: list[int | None] = []
    for number, message in enumerate(messages):
        value = message.get("created_at")
        time = None if value is None else parse_creation_time(value, f"{pointer}/{number}/created_at", imported_at)
        if isinstance(time, FieldError):
            field_errors.append(time)
        else:
            times.append(time)
    return tuple(times) if any(time is not None for time in times) else None


def _check_message(message: Mapping[str, Any]) -> FieldError | None:
    role, content = message.get("role"), message.get("content")
    # The common form, a known role and a text, needs no further check.
    if type(content) is str and type(role) is str and role in _ROLES:
        return None
    return message_error(role, content, message.get("tool_calls"), message.get("type"))


def _without_created_at(message: Mapping[str, Any]) -> Mapping[str, Any]:
    if "created_at" not in message:
        return message
    return {key: value for key, value in message.items() if key != "created_at"}


def _text_content(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return next((text for text in texts if isinstance(text, str)), "")
