"""Messages on their way in: checked against their shape, kept with every member they came with."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from sessionary.errors import Fault
from sessionary.limits import MESSAGE_BYTES_MAX
from sessionary.model import Message, Role
from sessionary.operations.faults import fault_from, invalid

_encode: Final = msgspec.json.Encoder().encode
_ROLES: Final = frozenset(get_args(Role))


class Turn(Struct, frozen=True):
    """Messages as the store takes them, and the text of the first user message among them."""

    messages: tuple[bytes, ...]
    first_user_text: str | None


def read_turn(messages: Sequence[Mapping[str, Any]], pointer: str) -> Turn:
    """Check messages and turn them into bytes; ``pointer`` says where in the request they stand.

    Raises InvalidRequest, naming every message that is wrong.
    """
    faults: list[Fault] = []
    encoded: list[bytes] = []
    first_user_text: str | None = None
    for number, message in enumerate(messages):
        fault = _fault(message)
        if fault is not None:
            faults.append(Fault(f"{pointer}/{number}{fault.pointer}", fault.detail))
            continue
        if first_user_text is None and message["role"] == "user":
            first_user_text = _text(message.get("content"))
        body = _encode(_unstamped(message))
        if len(body) > MESSAGE_BYTES_MAX:
            faults.append(Fault(f"{pointer}/{number}", f"A message takes at most {MESSAGE_BYTES_MAX} bytes of JSON."))
        encoded.append(body)
    if faults:
        raise invalid(faults)
    return Turn(tuple(encoded), first_user_text)


def _fault(message: Mapping[str, Any]) -> Fault | None:
    # A message of the common form needs no closer look; anything odd gets the full check and its words.
    if type(message.get("content")) is str and type(role := message.get("role")) is str and role in _ROLES:
        return None
    try:
        shape = msgspec.convert(message, Message)
    except msgspec.ValidationError as error:
        return fault_from(error)
    if shape.content is None and not (isinstance(shape.tool_calls, list) and shape.tool_calls):
        return Fault("/content", "Only a message with tool_calls may go without content.")
    return None


def _unstamped(message: Mapping[str, Any]) -> Mapping[str, Any]:
    if "created_at" not in message:
        return message
    return {key: value for key, value in message.items() if key != "created_at"}


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return next((part["text"] for part in parts if isinstance(part.get("text"), str)), "")
