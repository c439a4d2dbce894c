"""Numbered migrations: each engine has files of its own, applied once, in order, under a lock."""

from collections.abc import Collection
from importlib.resources import files

from msgspec import Struct

from sessionary.errors import StoreUnavailable


class Migration(Struct, frozen=True):
    """One numbered file: ``0001_sessions.sql`` is number 1, name ``0001_sessions``."""

    number: int
    name: str
    sql: str


def read_migrations(engine: str) -> list[Migration]:
    """Read ``store/sql/<engine>/migrations`` in the order of the numbers."""
    folder = files("sessionary.store").joinpath("sql", engine, "migrations")
    found = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.number)


def pending(known: list[Migration], applied: Collection[int]) -> list[Migration]:
    """Pick what has not been applied; raises StoreUnavailable if a newer program has been here."""
    unknown = sorted(set(applied) - {migration.number for migration in known})
    if unknown:
        newest = known[-1].number
        raise StoreUnavailable(
            f"The database was migrated by a newer sessionary (migration {unknown[-1]}; this one knows {newest})."
        )
    return [migration for migration in known if migration.number not in applied]
