"""Making messages fit: who speaks, what is said, when, how deep and how long it is."""

from typing import Any, Final, get_args

import msgspec

from sessionary import constants
from sessionary.cli.transfer.contents import content_of, written
from sessionary.cli.transfer.conversation import Conversation, keep_beside
from sessionary.cli.transfer.oversize import parts_of_message
from sessionary.cli.transfer.roles import FALLBACK, role_of
from sessionary.cli.transfer.times import time_from
from sessionary.models import JsonObject, Role

_encode: Final = msgspec.json.Encoder().encode
_ROLES: Final = frozenset(get_args(Role))
_NESTING_MAX: Final = constants.NESTING_MAX - 2
"""A message stands in a list in the body of a request."""
_VALUES_MAX: Final = 99_900
"""A server takes no more in one body, and each takes a byte at least."""
_VALUES_OF_A_MEMBER: Final = 1_000
_SURELY_FITS_BYTES: Final = constants.MESSAGE_BYTES_MAX // 8
"""A record no longer than this holds no message that is too long, however its letters are escaped."""


class MessageFitter:
    """Fits the messages of one conversation."""

    def __init__(self, conversation: Conversation, now: str, size: int) -> None:
        """Fit those of a conversation whose JSON has so many bytes."""
        self._conversation: Final = conversation
        self._now: Final = now
        self._may_be_long: Final = size > _SURELY_FITS_BYTES
        self._may_hold_many: Final = size > _VALUES_MAX
        self._number = 0

    def fit_all(self) -> list[JsonObject]:
        """Fit one after another; one that is too long becomes several."""
        fitted: list[JsonObject] = []
        for number, message in enumerate(self._conversation.messages):
            self._number = number
            whole = self._fit(message)
            fitted += parts_of_message(whole, number, self._conversation) if self._may_be_long else [whole]
        return fitted

    def _mend(self, kind: str) -> None:
        self._conversation.mend(kind, self._number)

    def _fit(self, given: Any) -> JsonObject:
        message = given if isinstance(given, dict) else self._from_no_object(given)
        role, kind = message.get("role"), message.get("type")
        # An item of another API or an event of a framework may say what it says in any way.
        is_item = isinstance(kind, str) and kind != ""
        has_role = isinstance(role, str) and role in _ROLES
        if not (isinstance(message.get("content"), str) or is_item) or not (has_role or (is_item and role is None)):
            message = self._mended(dict(message))
        if "created_at" in message:
            message = self._timed(message)
        if self._may_hold_many:
            message = self._with_fewer_values(message)
        return nested_less(message, _NESTING_MAX, self._conversation, self._number)

    def _with_fewer_values(self, message: JsonObject) -> JsonObject:
        """Write members that hold very many values as text, where the server would not take so many."""
        if _values_in(message) <= _VALUES_MAX:
            return message
        self._mend("message with very many values, kept as text")
        many = {name for name, member in message.items() if _values_in(member) > _VALUES_OF_A_MEMBER}
        return {name: written(member) if name in many else member for name, member in message.items()}

    def _from_no_object(self, given: Any) -> JsonObject:
        self._mend("message that is no object, kept as text")
        return {"role": FALLBACK, "content": given if isinstance(given, str) else written(given)}

    def _mended(self, message: JsonObject) -> JsonObject:
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            known = role_of(role)
            self._mend("role that is none of ours, kept beside" if known else f"unknown role, kept as {FALLBACK}")
            keep_beside(message, role=role)
            message["role"] = known or FALLBACK
        if message.get("tool_calls") and not isinstance(message["tool_calls"], list):
            self._mend("tool_calls that are no list, kept beside")
            keep_beside(message, tool_calls=message.pop("tool_calls"))
        content = message.get("content")
        if (content is None and message.get("tool_calls")) or (
            isinstance(message.get("type"), str) and message["type"]
        ):
            return message
        if not isinstance(content, str) and not (
            isinstance(content, list) and all(isinstance(p, dict) for p in content)
        ):
            found = content_of(content)
            if not found.keeps_all:
                keep_beside(message, content=content)
            message["content"] = found.content
            self._mend(found.mended or "")
        return message

    def _timed(self, message: JsonObject) -> JsonObject:
        given = message["created_at"]
        found = time_from(given)
        if found == given and found is not None and found <= self._now:
            return message
        changed = {name: member for name, member in message.items() if name != "created_at"}
        if found is not None and found <= self._now:
            return {**changed, "created_at": found}
        if given not in (None, ""):
            self._mend(
                "created_at that is no time, kept beside" if found is None else "created_at in the future, kept beside"
            )
            keep_beside(changed, created_at=given)
        return changed


def _values_in(value: Any) -> int:
    count, level = 1, [value]
    while level:
        below: list[Any] = []
        for container in level:
            if type(container) is dict or type(container) is list:
                members = container.values() if type(container) is dict else container
                count += len(container) or 1
                below += members
        level = below
    return count


def nested_less(value: JsonObject, levels: int, conversation: Conversation, number: int | None = None) -> JsonObject:
    """Turn what is nested deeper than so many levels into text."""
    if not _is_deeper(value, levels):
        return value
    conversation.mend("nested too deeply, kept as text", number)
    return {name: _shallow(member, levels - 1) for name, member in value.items()}


def _is_deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        below: list[Any] = []
        for container in level:
            members = container.values() if type(container) is dict else container
            below += [member for member in members if type(member) is dict or type(member) is list]
        if not below:
            return False
        level = below
    return True


def _shallow(value: Any, levels: int) -> Any:
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return written(value)
    if isinstance(value, list):
        return [_shallow(member, levels - 1) for member in value]
    return {name: _shallow(member, levels - 1) for name, member in value.items()}
