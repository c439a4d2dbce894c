"""One conversation while it is read: what a session will hold, and what became of the rest."""

from collections import Counter
from typing import Any, Final, NamedTuple

from sessionary.models import JsonObject

IMPORTED: Final = "imported"
"""The member, of a message and of a session's metadata, for what the file said and a session has no place for."""


class Leftover(NamedTuple):
    """A part that a session cannot hold; it goes to a file."""

    member: str
    """Where in the record it stood, such as ``metadata.tools``."""
    reason: str
    value: Any


class Findings:
    """What was mended in one record, what was left out of it, and what did not fit."""

    def __init__(self) -> None:
        """Begin with nothing found."""
        self.mended: Final[Counter[str]] = Counter()
        self.left_out: Final[Counter[str]] = Counter()
        self.leftovers: Final[list[Leftover]] = []
        self.messages_mended: Final[set[int]] = set()

    def mend(self, kind: str, message: int | None = None) -> None:
        """Count something that was changed so that it can be kept; ``message`` is the message's number."""
        self.mended[kind] += 1
        if message is not None:
            self.messages_mended.add(message)

    def leave_out(self, kind: str, count: int = 1) -> None:
        """Count messages of the file that become no message of the session."""
        if count:
            self.left_out[kind] += count

    def set_aside(self, member: str, reason: str, value: Any) -> None:
        """Keep a value for the file of leftovers."""
        self.leftovers.append(Leftover(member, reason, value))
        self.mended[reason] += 1

    def take_over(self, others: "Findings") -> None:
        """Take what was found before."""
        self.mended.update(others.mended)
        self.left_out.update(others.left_out)
        self.leftovers.extend(others.leftovers)
        self.messages_mended.update(others.messages_mended)


class Conversation(Findings):
    """A conversation as a format's reader fills it in; nothing of it has been checked yet."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.members: Final[JsonObject] = {}
        """Members of a session, as the file has them."""
        self.fallback_user: Any = None
        """Whose conversation it is if neither the file nor the caller says so better."""
        self.metadata: Final[JsonObject] = {}
        self.imported: Final[JsonObject] = {}
        """What goes to the metadata under ``imported``."""
        self.messages: Final[list[Any]] = []

    def add(self, message: Any) -> None:
        """Add the next message."""
        self.messages.append(message)

    def mend_next(self, kind: str) -> None:
        """Count something that was changed in the message that is about to be added."""
        self.mend(kind, len(self.messages))

    def keep_metadata(self, given: Any) -> None:
        """Take the record's own metadata; what is no object is kept under ``imported``."""
        if isinstance(given, dict):
            self.metadata.update(given)
        elif given not in (None, []):
            self.imported["metadata"] = given
            self.mend("metadata that is no object, kept as metadata.imported.metadata")

    def keep_rest(self, value: JsonObject, known: frozenset[str]) -> None:
        """Keep all other members as metadata; null counts as absent. Where a name is taken, under ``imported``."""
        for name, member in value.items():
            if name in known or member is None:
                continue
            taken = name in self.metadata or name == IMPORTED
            (self.imported if taken else self.metadata)[name] = member


def keep_beside(message: JsonObject, **members: Any) -> None:
    """Keep what the file said of a message under the message's ``imported``, without losing what stands there."""
    there = message.get(IMPORTED)
    if IMPORTED in message and not isinstance(there, dict):
        there = {IMPORTED: there}
    message[IMPORTED] = {**(there or {}), **members}
