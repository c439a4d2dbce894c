"""Statistics of the import of one file."""

from collections import Counter

from msgspec import Struct, field

from sessionary.cli.transfer.conversation import ConversionLog

_JSON_NAMES = {
    "formats": "shapes",
    "reimported": "anew",
    "changed": "mended",
    "changes": "mendings",
    "messages_changed": "messages_mended",
    "messages_omitted": "messages_left_out",
    "omitted": "left_out",
}


class ImportStats(Struct, rename=_JSON_NAMES):
    """What happened to the records of a file; also the JSON of ``--json``, with the names that it promises."""

    file: str
    formats: Counter[str] = field(default_factory=Counter)
    """How many records were read in each format; without those that already existed on the server."""
    imported: int = 0
    already_there: int = 0
    rejected: int = 0
    rejects: str | None = None
    """The path of the rejects file, if there is one."""
    reimported: int = 0
    """How many of the imported records an earlier import had sent, whose sessions no longer existed."""
    changed: int = 0
    """How many imported conversations were changed to fit."""
    changes: Counter[str] = field(default_factory=Counter)
    """The number of changes by kind."""
    messages: int = 0
    """How many messages the imported sessions have."""
    messages_changed: int = 0
    messages_omitted: int = 0
    omitted: Counter[str] = field(default_factory=Counter)
    """The number of omitted messages by kind."""
    leftovers: str | None = None
    """The path of the leftovers file, if anything was written to it."""
    no_longer_in_file: int = 0
    """How many records of earlier imports are no longer in the file, or were changed there."""
    notices: list[str] = field(default_factory=list)

    def is_empty(self) -> bool:
        """Return whether no record has been processed."""
        return not (self.imported or self.already_there or self.rejected)

    def count_import(self, messages: int, log: ConversionLog) -> None:
        """Count an imported record."""
        self.imported += 1
        self.messages += messages
        self.changed += bool(log.changes)
        self.messages_changed += len(log.changed_messages)
        self.messages_omitted += log.omitted.total()
        self.changes.update(log.changes)
        self.omitted.update(log.omitted)

    def add_notice(self, notice: str | None) -> None:
        """Add a notice, unless it is None or was added before."""
        if notice and notice not in self.notices:
            self.notices.append(notice)
