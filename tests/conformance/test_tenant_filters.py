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
from tests.conformance.builders import ManualClock
from tests.conformance.conftest import REFERENCE, Reopen
from tests.conformance.tenant_filters import (
    UNOBSERVABLE,
    TenantFilter,
    conditions_left,
    statements_of,
    statements_without,
    tenant_filters_of,
    write_queries,
)
from tests.conformance.two_tenants import TwoTenants
from tests.reference import ReferenceStore

KINDS = {"sqlite": "sqlite", "postgres": "postgres-18"}
TENANT_FILTERS = [
    pytest.param(KINDS[engine], tenant_filter, id=str(tenant_filter))
    for engine in KINDS
    for tenant_filter in tenant_filters_of(engine)
    if str(tenant_filter) not in UNOBSERVABLE
]
TABLES = ("sessions", "message_blocks", "keys", "audit")
PARAMETER = re.compile(r":(\w+)")


class Play(Protocol):
    """Runs the scenario on the store, and returns what was seen."""

    async def __call__(self, seen: list[object] | None = None) -> list[object]:
        """Run it; ``seen`` collects what is seen."""


class DifferentError(Exception):
    """What was seen differs from what two separate tenants see."""


class Compared(list[object]):
    """What is seen, compared item by item."""

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
def play(kind: str, url: str, reopen: Reopen, clock: ManualClock) -> Play:
    """Open the store, run the scenario on it, and return what was seen."""

    async def rows_of(organisation: str) -> object:
        if kind == REFERENCE:
            return None
        return _read_file(url, organisation) if kind == "sqlite" else await _read_database(url, organisation)

    async def play_on_it(seen: list[object] | None = None) -> list[object]:
        scene = TwoTenants(await reopen(), clock, rows_of)
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
    """What two tenants see that have nothing in common but names."""

    async def no_rows(_: str) -> object:
        return None

    clock = ManualClock()
    return await TwoTenants(ReferenceStore(clock), clock, no_rows).play()


async def test_tenants_with_every_name_in_common_never_see_each_other(play: Play, expected: list[object]) -> None:
    assert await play() == expected


@pytest.mark.parametrize(("kind", "tenant_filter"), TENANT_FILTERS, indirect=["kind"])
async def test_without_one_tenant_filter_another_tenant_is_seen(
    tenant_filter: TenantFilter, url: str, play: Play, replace: Replace, expected: list[object]
) -> None:
    replace(tenant_filter.engine, statements_without(tenant_filter))
    await _check_syntax(tenant_filter, url)

    # Where this raises nothing, the scene must do what needs the tenant_filter. It ends at the first difference: some tenant filters keep every later write from being applied, and each would wait its time.
    with pytest.raises(DifferentError):
        await play(Compared(expected))


@pytest.mark.parametrize(
    ("kind", "engine"), [pytest.param(kind, engine, id=engine) for engine, kind in KINDS.items()], indirect=["kind"]
)
async def test_statements_that_are_only_reformatted_keep_tenants_apart(
    engine: str, play: Play, replace: Replace, expected: list[object]
) -> None:
    replace(engine, statements_of(engine))

    assert await play() == expected


@pytest.mark.parametrize("engine", KINDS)
def test_every_condition_on_an_organisation_is_a_tenant_filter(engine: str) -> None:
    assert tenant_filters_of(engine)
    assert conditions_left(engine) == []


async def _check_syntax(tenant_filter: TenantFilter, url: str) -> None:
    """Check that the changed statement is valid: a syntax error must not pass for a noticed difference."""
    if tenant_filter.engine == "postgres":
        connection = await asyncpg.connect(url)
        await connection.prepare(read_statements()[tenant_filter.statement].sql)
        await connection.close()
        return
    statement = queries.read_queries(tenant_filter.engine)[tenant_filter.statement]
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
