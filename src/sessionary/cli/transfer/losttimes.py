"""Times where the server will not keep them: they go beside what they belong to."""

from typing import Any, Final

import msgspec

from sessionary import constants
from sessionary.cli.transfer.conversation import IMPORTED, keep_beside
from sessionary.cli.transfer.record import Reading, Record
from sessionary.models import JsonObject

_encode: Final = msgspec.json.Encoder().encode


def has_times(record: Record) -> bool:
    """Tell whether a record brings a time of its own."""
    return record.created_at is not None or any("created_at" in message for message in record.messages)


def move_times(reading: Reading) -> None:
    """Move a session's time to its metadata, and those of messages beside them."""
    record = reading.record
    source = record.metadata.get("source")
    if isinstance(source, dict) and source.get("created_at") == record.created_at:
        # It stands there already.
        record.created_at = None
    if record.created_at is not None:
        there = record.metadata.get(IMPORTED)
        there = there if isinstance(there, dict) else {} if there is None else {IMPORTED: there}
        metadata = {**record.metadata, IMPORTED: {**there, "created_at": record.created_at}}
        if len(_encode(metadata)) <= constants.METADATA_BYTES_MAX:
            record.metadata = metadata
        else:
            reading.findings.set_aside("created_at", "time for which there was no room", record.created_at)
        record.created_at = None
    record.messages = [
        _untimed(message, number, reading) if "created_at" in message else message
        for number, message in enumerate(record.messages)
    ]


def _untimed(message: JsonObject, number: int, reading: Reading) -> JsonObject:
    time: Any = message["created_at"]
    changed = {name: member for name, member in message.items() if name != "created_at"}
    metadata = changed.get("metadata")
    if metadata is None or (isinstance(metadata, dict) and "created_at" not in metadata):
        changed["metadata"] = {**(metadata or {}), "created_at": time}
    else:
        keep_beside(changed, created_at=time)
    content = message.get("content")
    surely_fits = (
        isinstance(content, str) and len(content) < constants.MESSAGE_BYTES_MAX // 16 and len(message) < len("role")
    )
    if surely_fits or len(_encode(changed)) <= constants.MESSAGE_BYTES_MAX:
        return changed
    reading.findings.set_aside(f"messages.{number}.created_at", "time for which there was no room", time)
    return {name: member for name, member in message.items() if name != "created_at"}
