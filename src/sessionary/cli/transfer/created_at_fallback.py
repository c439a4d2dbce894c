"""Moves timestamps into metadata, for servers or tokens that do not accept `created_at`."""

from typing import Any, Final

import msgspec

from sessionary import constants
from sessionary.cli.transfer.conversation import add_imported
from sessionary.cli.transfer.session_draft import ParsedRecord, SessionDraft
from sessionary.models import JsonObject

_encode: Final = msgspec.json.Encoder().encode


def has_timestamps(session: SessionDraft) -> bool:
    """Return whether a session or one of its messages has a timestamp."""
    return session.created_at is not None or any("created_at" in message for message in session.messages)


def move_timestamps_to_metadata(parsed: ParsedRecord) -> None:
    """Move the timestamp of a session, and of each message, into its metadata."""
    session = parsed.session
    source = session.metadata.get("source")
    if isinstance(source, dict) and source.get("created_at") == session.created_at:
        # The metadata has it already.
        session.created_at = None
    if session.created_at is not None:
        metadata = dict(session.metadata)
        add_imported(metadata, created_at=session.created_at)
        if len(_encode(metadata)) <= constants.METADATA_BYTES_MAX:
            session.metadata = metadata
        else:
            parsed.log.exclude("created_at", "time for which there was no space", session.created_at)
        session.created_at = None
    session.messages = [
        _without_timestamp(message, number, parsed) if "created_at" in message else message
        for number, message in enumerate(session.messages)
    ]


def _without_timestamp(message: JsonObject, number: int, parsed: ParsedRecord) -> JsonObject:
    time: Any = message["created_at"]
    changed = {name: member for name, member in message.items() if name != "created_at"}
    metadata = changed.get("metadata")
    if metadata is None or (isinstance(metadata, dict) and "created_at" not in metadata):
        changed["metadata"] = {**(metadata or {}), "created_at": time}
    else:
        add_imported(changed, created_at=time)
    content = message.get("content")
    certainly_fits = (
        isinstance(content, str) and len(content) < constants.MESSAGE_BYTES_MAX // 16 and len(message) < len("role")
    )
    if certainly_fits or len(_encode(changed)) <= constants.MESSAGE_BYTES_MAX:
        return changed
    parsed.log.exclude(f"messages.{number}.created_at", "time for which there was no space", time)
    return {name: member for name, member in message.items() if name != "created_at"}
