"""The shapes of conversations that are read, and how each becomes a session."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, NoReturn, get_args

import msgspec
from msgspec import Struct, field

from sessionary.cli.transfer.chatgpt import session_of_tree
from sessionary.cli.transfer.reasons import Unreadable, UserMissing
from sessionary.limits import TITLE_LENGTH_MAX
from sessionary.model import JsonObject, Message, Metadata, Name, Role, Status, Title, Total


class Record(Struct, kw_only=True):
    """A session as it is to be, of whatever shape it was read from."""

    user_id: Name
    session_group: Name | None = None
    title: Title | None = None
    model: Name | None = None
    status: Status = "active"
    total_tokens: Total = 0
    metadata: Metadata = field(default_factory=dict)
    # Their members are checked one by one, without making a copy of each.
    messages: list[Any] = field(default_factory=list)


class Shape(NamedTuple):
    """A shape: its name, how to know it, and how to read it as the members of a Record."""

    name: str
    knows: Callable[[JsonObject], bool]
    read: Callable[[JsonObject], JsonObject]


_MEMBERS: Final = tuple(Record.__struct_fields__)
_ROLES: Final = frozenset(get_args(Role))
_SPEAKERS: Final[Mapping[str, str]] = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "function_response": "tool",
    "observation": "tool",
} | {role: role for role in _ROLES}


def read_record(text: bytes, defaults: JsonObject) -> tuple[str, Record]:
    """Read one record, and tell the name of its shape; raises Unreadable."""
    value = _decoded(text)
    shape = next((shape for shape in SHAPES if shape.knows(value)), None)
    if shape is None:
        raise Unreadable("It is no conversation of a known shape.")
    members = shape.read(value)
    for name, default in defaults.items():
        if members.get(name) in (None, ""):
            members[name] = default
    if not members.get("user_id"):
        raise UserMissing
    return shape.name, _checked(members)


def _decoded(text: bytes) -> JsonObject:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"It is not valid JSON: {error}.") from error
    except RecursionError:
        raise Unreadable("It is nested too deeply.") from None
    return value if isinstance(value, dict) else _refuse("It is not a JSON object.")


def _checked(members: JsonObject) -> Record:
    try:
        record = msgspec.convert({name: value for name, value in members.items() if value is not None}, Record)
        for number, message in enumerate(record.messages):
            _check_message(number, message)
    except msgspec.ValidationError as error:
        raise Unreadable(f"{error}.") from error
    return record


def _check_message(number: int, message: Any) -> None:
    # Most messages need no closer look.
    if isinstance(message, dict) and isinstance(message.get("content"), str) and message.get("role") in _ROLES:
        return
    try:
        msgspec.convert(message, Message)
    except msgspec.ValidationError as error:
        raise Unreadable(f"Message {number}: {error}.") from error


def _is_ours(value: JsonObject) -> bool:
    return isinstance(value.get("messages"), list) and ("user_id" in value or "total_messages" in value)


def _read_ours(value: JsonObject) -> JsonObject:
    # What another server leaves out, our client reads as empty.
    members = {name: value.get(name) or None for name in _MEMBERS}
    for message in members["messages"] or ():
        # The instants are the server's: it gives new ones.
        if isinstance(message, dict):
            message.pop("created_at", None)
    return members


def _is_transcript(value: JsonObject) -> bool:
    return isinstance(value.get("messages"), list)


def _read_transcript(value: JsonObject) -> JsonObject:
    rest = {
        name: member for name, member in value.items() if name not in {"messages", "user", "model", "title", "metadata"}
    }
    given = value.get("metadata")
    return {
        "user_id": value.get("user"),
        "model": value.get("model"),
        "title": title_from(value.get("title")),
        "metadata": {**(given if isinstance(given, dict) else {}), **rest},
        "messages": [_transcript_message(message) for message in value["messages"]],
    }


def _transcript_message(message: Any) -> JsonObject:
    if not isinstance(message, dict):
        _refuse("A message is not a JSON object.")
    changed = dict(message)
    # The role that tools had in the first version of that API.
    if changed.get("role") == "function":
        changed["role"] = "tool"
    if changed.get("content") is None and not changed.get("tool_calls"):
        changed["content"] = ""
    return changed


def _is_sharegpt(value: JsonObject) -> bool:
    return isinstance(value.get("conversations"), list)


def _read_sharegpt(value: JsonObject) -> JsonObject:
    system = value.get("system")
    opening = [{"role": "system", "content": system}] if isinstance(system, str) and system else []
    return {
        "user_id": value.get("user_id"),
        "model": value.get("model"),
        "title": title_from(value.get("title")),
        "metadata": {
            name: member
            for name, member in value.items()
            if name not in {"conversations", "user_id", "model", "title", "system"}
        },
        "messages": [*opening, *map(_sharegpt_message, value["conversations"])],
    }


def _sharegpt_message(turn: Any) -> JsonObject:
    if not isinstance(turn, dict):
        _refuse("A turn is not a JSON object.")
    speaker = turn.get("from")
    role = _SPEAKERS.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        _refuse(f"A turn is from {speaker!r}, who is neither human nor gpt, nor known otherwise.")
    rest = {name: member for name, member in turn.items() if name not in {"from", "value"}}
    return {"role": role, "content": turn.get("value"), **rest}


def _is_chatgpt(value: JsonObject) -> bool:
    return isinstance(value.get("mapping"), dict)


def _read_chatgpt(value: JsonObject) -> JsonObject:
    members = session_of_tree(value)
    return {**members, "title": title_from(members.get("title"))}


def title_from(text: Any) -> str | None:
    """Make a title of what another program held for one; None if nothing is left."""
    if not isinstance(text, str):
        return None
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:TITLE_LENGTH_MAX] or None


def _refuse(reason: str) -> NoReturn:
    raise Unreadable(reason)


SHAPES: Final = (
    Shape("sessionary", _is_ours, _read_ours),
    Shape("ChatGPT data export", _is_chatgpt, _read_chatgpt),
    Shape("ShareGPT", _is_sharegpt, _read_sharegpt),
    Shape("OpenAI transcripts", _is_transcript, _read_transcript),
)
