"""Making a conversation fit a session: each member is checked, mended where it must be, or kept apart."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sessionary import constants
from sessionary.cli.transfer.conversation import IMPORTED, Conversation
from sessionary.cli.transfer.decoding import mapped_texts
from sessionary.cli.transfer.messages import MessageFitter, nested_less
from sessionary.cli.transfer.reasons import MissingUserError
from sessionary.cli.transfer.record import DEFAULTS, Record
from sessionary.cli.transfer.times import time_from
from sessionary.models import JsonObject

_encode: Final = msgspec.json.Encoder().encode
_METADATA_NESTING_MAX: Final = constants.NESTING_MAX - 1
"""Metadata stands in the body of a request."""
_HASH_LETTERS: Final = 16


def fit(conversation: Conversation, defaults: Mapping[str, Any], now: str, size: int) -> Record:
    """Make a record of a conversation of so many bytes of JSON, no time later than now; raises MissingUserError."""
    members = conversation.members
    given = members.get("user_id")
    named = {name: _name(conversation, name) for name in DEFAULTS}
    user = named["user_id"] or defaults.get("user_id")
    if not user and conversation.fallback_user is not None:
        members["user_id"] = conversation.fallback_user
        user = _name(conversation, "user_id")
    if not user:
        raise MissingUserError(is_named=given not in (None, ""))
    record = Record(
        user_id=user,
        session_group=named["session_group"] or defaults.get("session_group"),
        title=_title(conversation),
        model=_name(conversation, "model"),
        total_tokens=_tokens(conversation),
        created_at=_created_at(conversation, now),
        messages=MessageFitter(conversation, now, size).fit_all(),
        asks=frozenset(name for name in DEFAULTS if not named[name]),
    )
    if members.get("status") in ("active", "completed"):
        record.status = members["status"]
    elif members.get("status") is not None:
        _keep(conversation, "status")
    record.metadata = fit_metadata(conversation, conversation.imported)
    return record


def _keep(conversation: Conversation, name: str, why: str = "that a session cannot hold") -> None:
    conversation.imported[name] = conversation.members.get(name)
    conversation.mend(f"{name} {why}, kept as metadata.{IMPORTED}.{name}")


def _name(conversation: Conversation, name: str) -> str | None:
    value = conversation.members.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        conversation.mend(f"{name} that was a number, kept as text")
        value = str(value)
    if not isinstance(value, str):
        _keep(conversation, name)
        return None
    cleaned = value
    if not value.isprintable() and any(is_control(letter) for letter in value):
        cleaned = _without_controls(value)
    if not cleaned:
        _keep(conversation, name, "that has no text")
        return None
    if cleaned == value and len(value) <= constants.NAME_LENGTH_MAX:
        return value
    why = "with control characters, replaced" if cleaned != value else "that was too long, cut"
    _keep(conversation, name, why)
    # Two names must not become one.
    digest = hashlib.sha256(value.encode()).hexdigest()[:_HASH_LETTERS]
    return f"{cleaned[: constants.NAME_LENGTH_MAX - _HASH_LETTERS - 1]}-{digest}"


def _without_controls(value: str) -> str:
    return "".join(" " if is_control(letter) else letter for letter in value).strip()


def is_control(letter: str) -> bool:
    """Tell whether a server refuses a letter in names and titles."""
    return letter < " " or "\x7f" <= letter < "\xa0"


def _title(conversation: Conversation) -> str | None:
    value = conversation.members.get("title")
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        _keep(conversation, "title")
        return None
    title = value
    if not value.isprintable() and any(is_control(letter) for letter in value):
        title = _without_controls(value)
        # A title that goes over several lines is put on one: nothing is lost.
        if title and any(is_control(letter) and not letter.isspace() for letter in value):
            _keep(conversation, "title", "with control characters, replaced")
    if len(title) > constants.TITLE_LENGTH_MAX:
        _keep(conversation, "title", "that was too long, cut")
        title = title[: constants.TITLE_LENGTH_MAX - 1] + "…"
    return title or None


def _tokens(conversation: Conversation) -> int:
    value = conversation.members.get("total_tokens")
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= constants.INT32_MAX):
        return value or 0
    _keep(conversation, "total_tokens")
    if isinstance(value, float) and value.is_integer() and 0 <= value <= constants.INT32_MAX:
        return int(value)
    return constants.INT32_MAX if isinstance(value, int | float) and value > constants.INT32_MAX else 0


def _created_at(conversation: Conversation, now: str) -> str | None:
    value = conversation.members.get("created_at")
    if value in (None, ""):
        return None
    found = time_from(value)
    if found is None or found > now:
        _keep(conversation, "created_at", "that is no time, or in the future" if found is None else "in the future")
        return None
    return found


def fit_metadata(conversation: Conversation, imported: JsonObject) -> JsonObject:
    """Put metadata and what was kept beside it together, within the bounds of a server; the rest is set aside."""
    metadata = {name: member for name, member in conversation.metadata.items() if member is not None}
    if imported:
        there = metadata.get(IMPORTED)
        if IMPORTED in metadata and not isinstance(there, dict):
            there = {IMPORTED: there}
        metadata[IMPORTED] = {**(there or {}), **imported}
    written = _encode(metadata)
    if b"\\u0000" in written:
        metadata = mapped_texts(metadata, lambda text: _without_nul(conversation, text))
        written = _encode(metadata)
    metadata = nested_less(metadata, _METADATA_NESTING_MAX, conversation)
    if len(written) > constants.METADATA_BYTES_MAX // 2:
        _set_largest_aside(conversation, metadata)
    return metadata


def _without_nul(conversation: Conversation, text: str) -> str:
    if "\0" not in text:
        return text
    conversation.mend("NUL in metadata, replaced by U+FFFD")
    return text.replace("\0", "\ufffd")


def _set_largest_aside(conversation: Conversation, metadata: JsonObject) -> None:
    """Take the largest members out until the rest fits."""
    inner = metadata.get(IMPORTED)
    places = [(metadata, "metadata"), *([(inner, f"metadata.{IMPORTED}")] if isinstance(inner, dict) else [])]
    sizes = sorted(
        ((len(_encode(member)), name, place, path) for place, path in places for name, member in place.items()),
        key=lambda each: (each[3] == "metadata" and each[1] == IMPORTED, -each[0]),
    )
    for _, name, place, path in sizes:
        if len(_encode(metadata)) <= constants.METADATA_BYTES_MAX:
            return
        reason = f"metadata of more than {constants.METADATA_BYTES_MAX // 1024} KiB"
        conversation.set_aside(f"{path}.{name}", reason, place.pop(name))
