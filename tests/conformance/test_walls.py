"""A session of another organisation is absent: each condition that keeps it so is needed, and its loss is noticed."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import apsw
import asyncpg
import pytest

from sessionary.server.store import queries
from sessionary.server.store.postgres.statements import read_statements
from tests.conformance.conftest import REFERENCE, Reopen
from tests.conformance.making import HandClock
from tests.conformance.neighbours import Neighbours
from tests.conformance.walls import (
    UNSEEN,
    Wall,
    conditions_left,
    statements_of,
    statements_without,
    walls_of,
    write_queries,
)
from tests.reference import ReferenceStore

KINDS = {"sqlite": "sqlite", "postgres": "postgres-18"}
WALLS = [
    pytest.param(KINDS[engine], wall, id=str(wall))
    for engine in KINDS
    for wall in walls_of(engine)
    if str(wall) not in UNSEEN
]
TABLES = ("sessions", "message_blocks", "keys", "audit")
PARAMETER = re.compile(r":(\w+)")


class Play(Protocol):
    """Plays the scene on the store, and tells what was seen."""

    async def __call__(self, seen: list[object] | None = None) -> list[object]:
        """Play; ``seen`` takes what is seen as it goes."""


class DifferentError(Exception):
    """Something else was seen than two neighbours see who share nothing but names."""


class Compared(list[object]):
    """What is seen, compared as it comes."""

    def __init__(self, expected: Sequence[object]) -> None:
        super().__init__()
        self._expected = expected

    def append(self, seen: object) -> None:
        if len(self) >= len(self._expected) or self._expected[len(self)] != seen:
            raise DifferentError
        super().append(seen)

    def extend(self, several: Iterable[object]) -> None:
        for seen in several:
            self.append(seen)


Replace = Callable[[str, dict[str, str]], None]


@pytest.fixture
def play(kind: str, url: str, reopen: Reopen, clock: HandClock) -> Play:
    """Open the store, play the scene on it, and tell what was seen."""

    async def rows_of(organisation: str) -> object:
        if kind == REFERENCE:
            return None
        return _read_file(url, organisation) if kind == "sqlite" else await _read_database(url, organisation)

    async def play_on_it(seen: list[object] | None = None) -> list[object]:
        scene = Neighbours(await reopen(), clock, rows_of)
        if seen is not None:
            scene.seen = seen
        return await scene.play()

    return play_on_it


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Replace]:
    """Let an engine that is opened from now on find other statements where it reads them."""

    def replace_statements(engine: str, statements: dict[str, str]) -> None:
        folder = tmp_path / "store"
        write_queries(folder, engine, statements)
        monkeypatch.setattr(queries, "files", lambda _: folder)
        read_statements.cache_clear()

    yield replace_statements
    monkeypatch.undo()
    read_statements.cache_clear()


@pytest.fixture
async def expected() -> list[object]:
    """What two neighbours see who share nothing but names."""

    async def no_rows(_: str) -> object:
        return None

    clock = HandClock()
    return await Neighbours(ReferenceStore(clock), clock, no_rows).play()


async def test_neighbours_who_have_every_name_in_common_never_meet(play: Play, expected: list[object]) -> None:
    assert await play() == expected


@pytest.mark.parametrize(("kind", "wall"), WALLS, indirect=["kind"])
async def test_without_any_one_wall_neighbours_meet(
    wall: Wall, url: str, play: Play, replace: Replace, expected: list[object]
) -> None:
    replace(wall.engine, statements_without(wall))
    await _check_spelling(wall, url)

    # Where this raises nothing, the scene must do what needs the wall. It ends at the first difference: some walls keep every later write from being applied, and each would wait its time.
    with pytest.raises(DifferentError):
        await play(Compared(expected))


@pytest.mark.parametrize(
    ("kind", "engine"), [pytest.param(kind, engine, id=engine) for engine, kind in KINDS.items()], indirect=["kind"]
)
async def test_statements_that_are_only_written_anew_let_nobody_meet(
    engine: str, play: Play, replace: Replace, expected: list[object]
) -> None:
    replace(engine, statements_of(engine))

    assert await play() == expected


@pytest.mark.parametrize("engine", KINDS)
def test_every_condition_on_an_organisation_is_a_wall(engine: str) -> None:
    assert walls_of(engine)
    assert conditions_left(engine) == []


async def _check_spelling(wall: Wall, url: str) -> None:
    """See that the database takes the statement as it is now: no mistake of spelling is to pass for a notice."""
    if wall.engine == "postgres":
        connection = await asyncpg.connect(url)
        await connection.prepare(read_statements()[wall.statement].sql)
        await connection.close()
        return
    statement = queries.read_queries(wall.engine)[wall.statement]
    with contextlib.closing(apsw.Connection(url.removeprefix("sqlite:///"))) as file:
        file.execute(f"EXPLAIN {statement}", dict.fromkeys(PARAMETER.findall(statement)))


def _read_file(url: str, organisation: str) -> list[object]:
    with contextlib.closing(apsw.Connection(url.removeprefix("sqlite:///"))) as file:
        return [file.execute(question, (organisation,)).fetchall() for question in _questions("?")]


async def _read_database(url: str, organisation: str) -> list[object]:
    connection = await asyncpg.connect(url)
    rows: list[object] = [await connection.fetch(question, organisation) for question in _questions("$1")]
    await connection.close()
    return rows


def _questions(parameter: str) -> list[str]:
    return [f"SELECT * FROM {table} WHERE organisation = {parameter} ORDER BY 1, 2, 3, 4" for table in TABLES]
