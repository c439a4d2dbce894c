"""Makes messages fit the server: role, content, time, nesting and length."""

from typing import Any, Final, get_args

from sessionary import constants
from sessionary.cli.transfer.content import parse_content, to_json
from sessionary.cli.transfer.conversation import Conversation, add_imported
from sessionary.cli.transfer.message_splitter import split_message
from sessionary.cli.transfer.roles import FALLBACK_ROLE, find_role
from sessionary.cli.transfer.times import parse_time
from sessionary.models import JsonObject, Role
from sessionary.server.http.strict_json import is_nested_deeper

_ROLES: Final = frozenset(get_args(Role))
_NESTING_MAX: Final = constants.NESTING_MAX - 2
"""A message is nested in the list of messages in the request body."""
_VALUES_MAX: Final = 99_900
"""A server accepts about this many JSON values in one body; each takes at least one byte."""
_LARGE_MEMBER_VALUES: Final = 1_000
_CERTAINLY_FITS_BYTES: Final = constants.MESSAGE_BYTES_MAX // 8
"""A record of up to this size contains no message that is too long, however its characters are escaped."""


class MessageNormaliser:
    """Makes the messages of one conversation fit."""

    def __init__(self, conversation: Conversation, now: str, size: int) -> None:
        """``now`` is the latest allowed timestamp, ``size`` the length of the record's JSON in bytes."""
        self._conversation: Final = conversation
        self._now: Final = now
        self._may_be_long: Final = size > _CERTAINLY_FITS_BYTES
        self._may_hold_many: Final = size > _VALUES_MAX
        self._number = 0

    def normalise_all(self) -> list[JsonObject]:
        """Return the messages; one that is too long is split into several."""
        normalised: list[JsonObject] = []
        for number, message in enumerate(self._conversation.messages):
            self._number = number
            normal = self._normalise(message)
            normalised += split_message(normal, number, self._conversation) if self._may_be_long else [normal]
        return normalised

    def _record_change(self, kind: str) -> None:
        self._conversation.record_change(kind, self._number)

    def _normalise(self, given: Any) -> JsonObject:
        message = given if isinstance(given, dict) else self._from_other_value(given)
        role, kind = message.get("role"), message.get("type")
        # An item of another API or a framework's event may have any members.
        is_item = isinstance(kind, str) and kind != ""
        has_role = isinstance(role, str) and role in _ROLES
        if not (isinstance(message.get("content"), str) or is_item) or not (has_role or (is_item and role is None)):
            message = self._with_valid_members(dict(message))
        if "created_at" in message:
            message = self._with_valid_time(message)
        if self._may_hold_many:
            message = self._with_fewer_values(message)
        return limit_nesting(message, _NESTING_MAX, self._conversation, self._number)

    def _with_fewer_values(self, message: JsonObject) -> JsonObject:
        """Turn members with very many values into text, if the server would not accept so many values."""
        if _count_values(message) <= _VALUES_MAX:
            return message
        self._record_change("message with very many values, kept as text")
        large = {name for name, member in message.items() if _count_values(member) > _LARGE_MEMBER_VALUES}
        return {name: to_json(member) if name in large else member for name, member in message.items()}

    def _from_other_value(self, given: Any) -> JsonObject:
        self._record_change("message that is not an object, kept as text")
        return {"role": FALLBACK_ROLE, "content": given if isinstance(given, str) else to_json(given)}

    def _with_valid_members(self, message: JsonObject) -> JsonObject:
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            known = find_role(role)
            self._record_change(
                "unsupported role, replaced; original kept in imported"
                if known
                else f"unknown role, kept as {FALLBACK_ROLE}"
            )
            add_imported(message, role=role)
            message["role"] = known or FALLBACK_ROLE
        if message.get("tool_calls") and not isinstance(message["tool_calls"], list):
            self._record_change("tool_calls that are not a list, kept in imported")
            add_imported(message, tool_calls=message.pop("tool_calls"))
        content = message.get("content")
        if (content is None and message.get("tool_calls")) or (
            isinstance(message.get("type"), str) and message["type"]
        ):
            return message
        if not isinstance(content, str) and not (
            isinstance(content, list) and all(isinstance(p, dict) for p in content)
        ):
            parsed = parse_content(content)
            if not parsed.is_complete:
                add_imported(message, content=content)
            message["content"] = parsed.content
            self._record_change(parsed.change or "")
        return message

    def _with_valid_time(self, message: JsonObject) -> JsonObject:
        given = message["created_at"]
        found = parse_time(given)
        if found == given and found is not None and found <= self._now:
            return message
        changed = {name: member for name, member in message.items() if name != "created_at"}
        if found is not None and found <= self._now:
            return {**changed, "created_at": found}
        if given not in (None, ""):
            self._record_change(
                "invalid created_at, kept in imported"
                if found is None
                else "created_at in the future, kept in imported"
            )
            add_imported(changed, created_at=given)
        return changed


def _count_values(value: Any) -> int:
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


def limit_nesting(value: JsonObject, levels: int, conversation: Conversation, number: int | None = None) -> JsonObject:
    """Turn values that are nested deeper than ``levels`` into text."""
    if not is_nested_deeper(value, levels):
        return value
    conversation.record_change("nested too deeply, kept as text", number)
    return {name: _flatten(member, levels - 1) for name, member in value.items()}


def _flatten(value: Any, levels: int) -> Any:
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return to_json(value)
    if isinstance(value, list):
        return [_flatten(member, levels - 1) for member in value]
    return {name: _flatten(member, levels - 1) for name, member in value.items()}
