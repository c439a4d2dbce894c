"""Messages on their way in: checked against their shape, kept with every member they came with."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from sessionary.constants import MESSAGE_BYTES_MAX
from sessionary.errors import FieldError
from sessionary.models import Role, message_error
from sessionary.server.operations.validation import invalid
from sessionary.server.store.base import MessageTimes
from sessionary.timestamps import parse_timestamp

_encode: Final = msgspec.json.Encoder().encode
_ROLES: Final = frozenset(get_args(Role))


class Turn(Struct, frozen=True):
    """Messages as the store takes them, the times they bring, and the text of the first user message among them."""

    messages: tuple[bytes, ...]
    first_user_text: str | None
    times: MessageTimes = None


def read_turn(messages: Sequence[Mapping[str, Any]], pointer: str, imported_at: int | None = None) -> Turn:
    """Check messages and turn them into bytes; ``pointer`` says where in the request they stand.

    Where they are imported they keep the times they bring, none of which lies after ``imported_at``. Raises
    InvalidRequestError, naming every message that is wrong.
    """
    field_errors: list[FieldError] = []
    encoded: list[bytes] = []
    first_user_text: str | None = None
    for number, message in enumerate(messages):
        field_error = _fault(message)
        if field_error is not None:
            field_errors.append(FieldError(f"{pointer}/{number}{field_error.pointer}", field_error.detail))
            continue
        if first_user_text is None and message.get("role") == "user":
            first_user_text = _text(message.get("content"))
        body = _encode(_unstamped(message))
        if len(body) > MESSAGE_BYTES_MAX:
            field_errors.append(
                FieldError(f"{pointer}/{number}", f"must take at most {MESSAGE_BYTES_MAX} bytes of JSON.")
            )
        encoded.append(body)
    times = None if imported_at is None else _times(messages, pointer, imported_at, field_errors)
    if field_errors:
        raise invalid(field_errors)
    return Turn(tuple(encoded), first_user_text, times)


def read_time(value: object, pointer: str, imported_at: int) -> int | FieldError:
    """Read when something that is imported was created, or say what is wrong with that."""
    time = parse_timestamp(value) if isinstance(value, str) else None
    if time is None:
        return FieldError(pointer, "must be an RFC 3339 instant with an offset, such as 2026-11-22T22:09:00.123Z.")
    if time < 0:
        return FieldError(pointer, "must not lie before 1970.")
    return time if time <= imported_at else FieldError(pointer, "must not lie in the future.")


def _times(
    messages: Sequence[Mapping[str, Any]], pointer: str, imported_at: int, field_errors: list[FieldError]
) -> tuple[int | None, ...] | None:
    times: list[int | None] = []
    for number, message in enumerate(messages):
        value = message.get("created_at")
        read = None if value is None else read_time(value, f"{pointer}/{number}/created_at", imported_at)
        if isinstance(read, FieldError):
            field_errors.append(read)
        else:
            times.append(read)
    return tuple(times) if any(time is not None for time in times) else None


def _fault(message: Mapping[str, Any]) -> FieldError | None:
    role, content = message.get("role"), message.get("content")
    # A message of the common form needs no closer look.
    if type(content) is str and type(role) is str and role in _ROLES:
        return None
    return message_error(role, content, message.get("tool_calls"), message.get("type"))


def _unstamped(message: Mapping[str, Any]) -> Mapping[str, Any]:
    if "created_at" not in message:
        return message
    return {key: value for key, value in message.items() if key != "created_at"}


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return next((text for text in texts if isinstance(text, str)), "")
