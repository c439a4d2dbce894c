"""Every engine gives the results of the reference, for any commands in any batches."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from sessionary.server.store.opening import migrate, open_store
from tests.conformance.builders import Ids, ManualClock
from tests.harness.postgres import PostgresServer
from tests.property.dictionary_store import DictionaryStore
from tests.property.machine import Comparison, Engine
from tests.property.profiles import search

SECONDS_MAX = 20.0

# A failure is made smaller before it is shown, which takes minutes.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the engine's whole life, left and entered again between two steps."""
    with asyncio.Runner() as runner:
        yield runner


def compare(runner: asyncio.Runner, engine: Engine, clock: ManualClock, effort: settings) -> None:
    ids = Ids()

    class Here(Comparison):
        def __init__(self) -> None:
            super().__init__(runner, engine, clock, ids)

    run_state_machine_as_test(Here, settings=effort)


def compare_database(runner: asyncio.Runner, url: str, effort: settings) -> None:
    clock = ManualClock()
    runner.run(migrate(url, clock()))
    store = runner.run(open_store(url, clock, SECONDS_MAX))
    try:
        compare(runner, store, clock, effort)
    finally:
        runner.run(store.close())


def test_the_rows_of_apply_commands_give_the_results_of_the_reference(runner: asyncio.Runner) -> None:
    clock = ManualClock()

    compare(runner, DictionaryStore(clock), clock, search(examples=100, steps=25))


def test_sqlite_gives_the_results_of_the_reference(runner: asyncio.Runner, tmp_path: Path) -> None:
    compare_database(runner, f"sqlite:///{tmp_path / 'sessionary.db'}", search(examples=50))


def test_postgres_gives_the_results_of_the_reference(runner: asyncio.Runner, postgres_18: PostgresServer) -> None:
    with postgres_18.database() as url:
        compare_database(runner, url, search(examples=40))
