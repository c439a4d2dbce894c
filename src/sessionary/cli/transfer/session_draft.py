"""The session that a record becomes, independent of the record's format and within the server's limits."""

from typing import Final

from msgspec import Struct, field

from sessionary.cli.transfer.conversation import ConversionLog
from sessionary.models import JsonObject, Status

DEFAULT_FIELDS: Final = ("user_id", "session_group")
"""Fields that options set where the file does not."""


class SessionDraft(Struct, kw_only=True):
    """A session to create; its messages have a ``created_at`` where the file has one."""

    user_id: str
    session_group: str | None = None
    title: str | None = None
    model: str | None = None
    status: Status = "active"
    total_tokens: int = 0
    metadata: JsonObject = field(default_factory=dict)
    messages: list[JsonObject] = field(default_factory=list)
    created_at: str | None = None
    missing_fields: frozenset[str] = frozenset()
    """Which of DEFAULT_FIELDS the file does not have."""


class ParsedRecord(Struct, frozen=True):
    """The result of parsing one record."""

    format: str
    session: SessionDraft
    log: ConversionLog
