"""Messages on their way in: checked against their shape, kept with every member they came with."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from sessionary.errors import Fault
from sessionary.instants import read_instant
from sessionary.limits import MESSAGE_BYTES_MAX
from sessionary.model import Role, fault_in_message
from sessionary.operations.faults import invalid
from sessionary.store.base import MessageTimes

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
    InvalidRequest, naming every message that is wrong.
    """
    faults: list[Fault] = []
    encoded: list[bytes] = []
    first_user_text: str | None = None
    for number, message in enumerate(messages):
        fault = _fault(message)
        if fault is not None:
            faults.append(Fault(f"{pointer}/{number}{fault.pointer}", fault.detail))
            continue
        if first_user_text is None and message.get("role") == "user":
            first_user_text = _text(message.get("content"))
        body = _encode(_unstamped(message))
        if len(body) > MESSAGE_BYTES_MAX:
            faults.append(Fault(f"{pointer}/{number}", f"must take at most {MESSAGE_BYTES_MAX} bytes of JSON."))
        encoded.append(body)
    times = None if imported_at is None else _times(messages, pointer, imported_at, faults)
    if faults:
        raise invalid(faults)
    return Turn(tuple(encoded), first_user_text, times)


def read_time(value: object, pointer: str, imported_at: int) -> int | Fault:
    """Read when something that is imported was created, or say what is wrong with that."""
    time = read_instant(value) if isinstance(value, str) else None
    if time is None:
        return Fault(pointer, "must be an RFC 3339 instant with an offset, such as 2026-11-22T22:09:00.123Z.")
    if time < 0:
        return Fault(pointer, "must not lie before 1970.")
    return time if time <= imported_at else Fault(pointer, "must not lie in the future.")


def _times(
    messages: Sequence[Mapping[str, Any]], pointer: str, imported_at: int, faults: list[Fault]
) -> tuple[int | None, ...] | None:
    times: list[int | None] = []
    for number, message in enumerate(messages):
        value = message.get("created_at")
        read = None if value is None else read_time(value, f"{pointer}/{number}/created_at", imported_at)
        if isinstance(read, Fault):
            faults.append(read)
        else:
            times.append(read)
    return tuple(times) if any(time is not None for time in times) else None


def _fault(message: Mapping[str, Any]) -> Fault | None:
    role, content = message.get("role"), message.get("content")
    # A message of the common form needs no closer look.
    if type(content) is str and type(role) is str and role in _ROLES:
        return None
    fault = fault_in_message(role, content, message.get("tool_calls"), message.get("type"))
    return None if fault is None else Fault(*fault)


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
