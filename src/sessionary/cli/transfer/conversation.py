"""One conversation while it is being read: the future session, and a log of what was changed or omitted."""

from collections import Counter
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from sessionary.models import JsonObject

IMPORTED: Final = "imported"
"""The member, of a message and of a session's metadata, for original values that have no other place in a session."""
EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})
"""Values of members that are not worth keeping."""


class ExcludedValue(NamedTuple):
    """A value that a session cannot store; it is written to FILE.leftovers."""

    member: str
    """The path of the value in the record, such as ``metadata.tools``."""
    reason: str
    value: Any


class ConversionLog:
    """What was changed in a record, which messages were omitted, and which values were excluded."""

    def __init__(self) -> None:
        """Start empty."""
        self.changes: Final[Counter[str]] = Counter()
        self.omitted: Final[Counter[str]] = Counter()
        self.excluded: Final[list[ExcludedValue]] = []
        self.changed_messages: Final[set[int]] = set()

    def record_change(self, kind: str, message: int | None = None) -> None:
        """Count a change; ``message`` is the index of the changed message, if it was one."""
        self.changes[kind] += 1
        if message is not None:
            self.changed_messages.add(message)

    def omit(self, kind: str, count: int = 1) -> None:
        """Count messages of the file that are not part of the session."""
        if count:
            self.omitted[kind] += count

    def exclude(self, member: str, reason: str, value: Any) -> None:
        """Move a value to FILE.leftovers; counts as a change."""
        self.excluded.append(ExcludedValue(member, reason, value))
        self.changes[reason] += 1

    def merge(self, other: "ConversionLog") -> None:
        """Add the entries of another log."""
        self.changes.update(other.changes)
        self.omitted.update(other.omitted)
        self.excluded.extend(other.excluded)
        self.changed_messages.update(other.changed_messages)


class Conversation(ConversionLog):
    """A conversation as the reader of a format fills it in; nothing has been validated yet."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.fields: Final[JsonObject] = {}
        """Fields of the session, with the file's values."""
        self.fallback_user: Any = None
        """The user, if neither the file's ``user_id`` nor ``--user-id`` names one."""
        self.metadata: Final[JsonObject] = {}
        self.imported: Final[JsonObject] = {}
        """Values for ``metadata.imported``."""
        self.messages: Final[list[Any]] = []

    def add_message(self, message: Any) -> None:
        """Append a message."""
        self.messages.append(message)

    def record_change_in_next(self, kind: str) -> None:
        """Count a change to the message that will be added next."""
        self.record_change(kind, len(self.messages))

    def add_source(self, format_: str, **members: Any) -> None:
        """Describe the original conversation in the metadata; members that are None are left out."""
        self.metadata["source"] = {"format": format_, **other_members(members, (), (None,))}

    def add_metadata(self, value: Any) -> None:
        """Add the record's own metadata; a value that is not an object is kept under ``imported``."""
        if isinstance(value, dict):
            self.metadata.update(value)
        elif value not in (None, []):
            self.imported["metadata"] = value
            self.record_change("metadata that is not an object, kept as metadata.imported.metadata")

    def add_other_fields(self, value: JsonObject, known: frozenset[str]) -> None:
        """Add all other members except null to the metadata, or to ``imported`` where the name is taken."""
        for name, member in value.items():
            if name in known or member is None:
                continue
            is_taken = name in self.metadata or name == IMPORTED
            (self.imported if is_taken else self.metadata)[name] = member


def add_imported(target: JsonObject, /, **members: Any) -> None:
    """Add original values to the ``imported`` member of a message or of metadata, without losing what is there."""
    existing = target.get(IMPORTED)
    if IMPORTED in target and not isinstance(existing, dict):
        existing = {IMPORTED: existing}
    target[IMPORTED] = {**(existing or {}), **members}


def other_members(value: JsonObject, known: Collection[str], empty: tuple[Any, ...] = EMPTY) -> JsonObject:
    """Return the members that are neither known nor empty."""
    return {name: member for name, member in value.items() if name not in known and member not in empty}
