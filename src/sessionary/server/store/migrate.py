"""Numbered migrations: each engine has files of its own, applied once, in order, under a lock."""

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

    ``serves_from`` is the newest migration that a program must know to go on beside this one: an earlier one where the
    file says so, for it only expands; its own where it does not.
    """

    number: int
    name: str
    sql: str

    @property
    def serves_from(self) -> int:
        """The oldest program that may serve when this has been applied."""
        said = _SERVES.search(self.sql)
        return int(said[1]) if said else self.number


def read_migrations(engine: str) -> list[Migration]:
    """Read ``store/sql/<engine>/migrations`` in the order of the numbers."""
    folder = files("sessionary.server.store").joinpath("sql", engine, "migrations")
    found = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.number)


@cache
def newest_migration(engine: str) -> int:
    """Say up to which migration this program knows the schema: that is what it serves."""
    return read_migrations(engine)[-1].number


def pending(known: list[Migration], applied: Mapping[int, int]) -> list[Migration]:
    """Pick what has not been applied, given what each applied migration serves.

    Raises StoreUnavailableError if a newer program has been here and left nothing that this one may serve.
    """
    refusal = refusal_of_newer(max(applied.values(), default=0), known[-1].number)
    if refusal is not None:
        raise refusal
    return [migration for migration in known if migration.number not in applied]


def refusal_of_newer(needed: int | None, program: int) -> StoreUnavailableError | None:
    """Say why a program that knows the schema up to one migration must not serve one that needs another."""
    if needed is None or needed <= program:
        return None
    reason = f"the database was migrated by a newer sessionary (migration {needed}; this one knows {program})"
    return StoreUnavailableError(f"T{reason[1:]}.", reason=reason, unchanged=True)
