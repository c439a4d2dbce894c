"""Numbered migrations: each engine has its own files, which are applied once, in order, under a lock."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from msgspec import Struct

from sessionary.errors import StoreUnavailableError

_SERVES: Final = re.compile(r"^-- Programs from (\d{4}) on go on beside this\.$", re.MULTILINE)


class Migration(Struct, frozen=True):
    """One numbered file: ``0001_sessions.sql`` is number 1, name ``0001_sessions``.

    ``serves_from`` is the oldest program that works with the schema after this migration, named by the newest migration
    that it knows. It is an earlier number if the file says so, because it only adds things; otherwise its own.
    """

    number: int
    name: str
    sql: str

    @property
    def serves_from(self) -> int:
        """The oldest program that may serve after this migration."""
        found = _SERVES.search(self.sql)
        return int(found[1]) if found else self.number


def read_migrations(engine: str) -> list[Migration]:
    """Read ``store/sql/<engine>/migrations`` in numeric order."""
    folder = files("sessionary.server.store").joinpath("sql", engine, "migrations")
    found = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.number)


@cache
def newest_migration(engine: str) -> int:
    """Return the newest migration that this program knows: the schema that it uses."""
    return read_migrations(engine)[-1].number


def pending(known: list[Migration], applied: Mapping[int, int]) -> list[Migration]:
    """Return the migrations that were not applied; ``applied`` has the ``serves_from`` of each applied number.

    Raises StoreUnavailableError if a newer program has changed the schema so that this one must not use it.
    """
    refusal = refusal_of_newer(max(applied.values(), default=0), known[-1].number)
    if refusal is not None:
        raise refusal
    return [migration for migration in known if migration.number not in applied]


def refusal_of_newer(needed: int | None, program: int) -> StoreUnavailableError | None:
    """Return the error for a program that is too old for the schema, None if it is new enough."""
    if needed is None or needed <= program:
        return None
    reason = f"the database was migrated by a newer sessionary (migration {needed}; this one knows {program})"
    return StoreUnavailableError(f"T{reason[1:]}.", reason=reason, unchanged=True)
