"""Makes a conversation fit a session: validates each field, and changes or moves values that are not valid."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sessionary import constants
from sessionary.cli.transfer.conversation import IMPORTED, Conversation, add_imported
from sessionary.cli.transfer.errors import MissingUserError
from sessionary.cli.transfer.lenient_json import map_strings
from sessionary.cli.transfer.message_normaliser import MessageNormaliser, limit_nesting
from sessionary.cli.transfer.session_draft import DEFAULT_FIELDS, SessionDraft
from sessionary.cli.transfer.times import parse_time
from sessionary.models import JsonObject

_encode: Final = msgspec.json.Encoder().encode
_METADATA_NESTING_MAX: Final = constants.NESTING_MAX - 1
"""Metadata is nested in the request body."""
_DIGEST_LENGTH: Final = 16


def normalise_session(conversation: Conversation, defaults: Mapping[str, Any], now: str, size: int) -> SessionDraft:
    """Return the session of a conversation whose JSON has ``size`` bytes; raises MissingUserError.

    Times later than ``now`` are invalid.
    """
    fields = conversation.fields
    given = fields.get("user_id")
    named = {name: _name(conversation, name) for name in DEFAULT_FIELDS}
    user = named["user_id"] or defaults.get("user_id")
    if not user and conversation.fallback_user is not None:
        fields["user_id"] = conversation.fallback_user
        user = _name(conversation, "user_id")
    if not user:
        raise MissingUserError(is_named=given not in (None, ""))
    session = SessionDraft(
        user_id=user,
        session_group=named["session_group"] or defaults.get("session_group"),
        title=_title(conversation),
        model=_name(conversation, "model"),
        total_tokens=_tokens(conversation),
        created_at=_created_at(conversation, now),
        messages=MessageNormaliser(conversation, now, size).normalise_all(),
        missing_fields=frozenset(name for name in DEFAULT_FIELDS if not named[name]),
    )
    if fields.get("status") in ("active", "completed"):
        session.status = fields["status"]
    elif fields.get("status") is not None:
        _keep_original(conversation, "status")
    session.metadata = limit_metadata(conversation, conversation.imported)
    return session


def _keep_original(conversation: Conversation, name: str, why: str = "that a session cannot store") -> None:
    conversation.imported[name] = conversation.fields.get(name)
    conversation.record_change(f"{name} {why}, kept as metadata.{IMPORTED}.{name}")


def _name(conversation: Conversation, name: str) -> str | None:
    value = conversation.fields.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        conversation.record_change(f"{name} that was a number, kept as text")
        value = str(value)
    if not isinstance(value, str):
        _keep_original(conversation, name)
        return None
    cleaned = _without_controls(value)
    if not cleaned:
        _keep_original(conversation, name, "that is empty")
        return None
    if cleaned == value and len(value) <= constants.NAME_LENGTH_MAX:
        return value
    why = "with control characters, replaced" if cleaned != value else "that was too long, shortened"
    _keep_original(conversation, name, why)
    # Distinct names must stay distinct.
    digest = hashlib.sha256(value.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{cleaned[: constants.NAME_LENGTH_MAX - _DIGEST_LENGTH - 1]}-{digest}"


def _without_controls(value: str) -> str:
    if value.isprintable() or not any(map(is_control_character, value)):
        return value
    return "".join(" " if is_control_character(character) else character for character in value).strip()


def is_control_character(character: str) -> bool:
    """Return whether a server rejects a character in names and titles."""
    return character < " " or "\x7f" <= character < "\xa0"


def _title(conversation: Conversation) -> str | None:
    value = conversation.fields.get("title")
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        _keep_original(conversation, "title")
        return None
    title = _without_controls(value)
    # The lines of a title are joined into one line: nothing is lost.
    if title and any(is_control_character(character) and not character.isspace() for character in value):
        _keep_original(conversation, "title", "with control characters, replaced")
    if len(title) > constants.TITLE_LENGTH_MAX:
        _keep_original(conversation, "title", "that was too long, shortened")
        title = title[: constants.TITLE_LENGTH_MAX - 1] + "…"
    return title or None


def _tokens(conversation: Conversation) -> int:
    value = conversation.fields.get("total_tokens")
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= constants.INT32_MAX):
        return value or 0
    _keep_original(conversation, "total_tokens")
    if isinstance(value, float) and value.is_integer() and 0 <= value <= constants.INT32_MAX:
        return int(value)
    return constants.INT32_MAX if isinstance(value, int | float) and value > constants.INT32_MAX else 0


def _created_at(conversation: Conversation, now: str) -> str | None:
    value = conversation.fields.get("created_at")
    if value in (None, ""):
        return None
    found = parse_time(value)
    if found is None or found > now:
        _keep_original(conversation, "created_at", "that is not a valid time" if found is None else "in the future")
        return None
    return found


def limit_metadata(conversation: Conversation, imported: JsonObject) -> JsonObject:
    """Join metadata and original values within the server's limits; what does not fit is excluded."""
    metadata = {name: member for name, member in conversation.metadata.items() if member is not None}
    if imported:
        add_imported(metadata, **imported)
    written = _encode(metadata)
    if b"\\u0000" in written:
        metadata = map_strings(metadata, lambda text: _without_nul(conversation, text))
        written = _encode(metadata)
    metadata = limit_nesting(metadata, _METADATA_NESTING_MAX, conversation)
    if len(written) > constants.METADATA_BYTES_MAX // 2:
        _exclude_largest(conversation, metadata)
    return metadata


def _without_nul(conversation: Conversation, text: str) -> str:
    if "\0" not in text:
        return text
    conversation.record_change("NUL in metadata, replaced by U+FFFD")
    return text.replace("\0", "\ufffd")


def _exclude_largest(conversation: Conversation, metadata: JsonObject) -> None:
    """Exclude the largest members until the rest fits."""
    inner = metadata.get(IMPORTED)
    containers = [(metadata, "metadata"), *([(inner, f"metadata.{IMPORTED}")] if isinstance(inner, dict) else [])]
    sizes = sorted(
        (
            (len(_encode(member)), name, container, path)
            for container, path in containers
            for name, member in container.items()
        ),
        key=lambda entry: (entry[3] == "metadata" and entry[1] == IMPORTED, -entry[0]),
    )
    for _, name, container, path in sizes:
        if len(_encode(metadata)) <= constants.METADATA_BYTES_MAX:
            return
        reason = f"metadata of more than {constants.METADATA_BYTES_MAX // 1024} KiB"
        conversation.exclude(f"{path}.{name}", reason, container.pop(name))
