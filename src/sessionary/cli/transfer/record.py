"""A session as it is to be, of whatever format it was read from, within all bounds of a server."""

from typing import Final

from msgspec import Struct, field

from sessionary.cli.transfer.conversation import Findings
from sessionary.models import JsonObject, Status

DEFAULTS: Final = ("user_id", "session_group")
"""Members that flags may say where the file does not."""


class Record(Struct, kw_only=True):
    """A session as it is to be; its messages bring their ``created_at`` where the file has one."""

    user_id: str
    session_group: str | None = None
    title: str | None = None
    model: str | None = None
    status: Status = "active"
    total_tokens: int = 0
    metadata: JsonObject = field(default_factory=dict)
    messages: list[JsonObject] = field(default_factory=list)
    created_at: str | None = None
    asks: frozenset[str] = frozenset()
    """Which of the members that flags may say are not in the file."""


class Reading(Struct, frozen=True):
    """What reading one record came to."""

    format: str
    record: Record
    findings: Findings
