"""`sessionary migrate`: once, in order, also concurrently, and never on a database of a newer version."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionary.server.store.migrate import read_migrations
from tests.cli.conftest import Run
from tests.e2e.database import count_rows, query
from tests.harness.postgres import PostgresServer
from tests.harness.server import run_sessionary

NAMES = [migration.name for migration in read_migrations("sqlite")]
PENDING = "".join(f"pending: {name}\n" for name in NAMES)
APPLIED = "".join(f"applied: {name}\n" for name in NAMES)
AT_ONCE = 6


@pytest.fixture(params=["sqlite", "postgres-18", "postgres-15"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store, which on SQLite is no file at all."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    postgres = request.getfixturevalue(request.param.replace("-", "_"))
    assert isinstance(postgres, PostgresServer)
    with postgres.database() as url:
        yield url


def test_migrations_are_applied_once(database: str, tmp_path: Path) -> None:
    check = run_sessionary("migrate", "--check", "--database", database)
    assert (check.returncode, check.stdout) == (1, PENDING)
    assert not (tmp_path / "store.db").exists(), "checking makes no file"

    first = run_sessionary("migrate", "--database", database)
    assert (first.returncode, first.stdout) == (0, APPLIED)

    second = run_sessionary("migrate", "--database", database)
    assert (second.returncode, second.stdout) == (0, "Nothing was pending.\n")
    check = run_sessionary("migrate", "--check", "--database", database)
    assert (check.returncode, check.stdout) == (0, "Nothing is pending.\n")
    assert query(database, "SELECT number, name FROM schema_migrations") == list(enumerate(NAMES, 1))
    assert count_rows(database, "sessions") == 0


def test_concurrent_migrations_are_applied_once(database: str) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", "sessionary", "migrate", "--database", database],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(AT_ONCE)
    ]
    ended = [(program.communicate(timeout=60), program.returncode) for program in programs]

    assert [code for _, code in ended] == [0] * AT_ONCE, ended
    outputs = sorted(out for (out, _), _ in ended)
    assert outputs == ["Nothing was pending.\n"] * (AT_ONCE - 1) + [APPLIED]


@pytest.mark.parametrize(
    "words", [["migrate"], ["migrate", "--check"], ["serve", "--port", "0"], ["tokens", "list"]], ids=" ".join
)
def test_a_database_of_a_newer_version_is_refused_and_not_changed(run: Run, database: str, words: list[str]) -> None:
    run("migrate", "--database", database)
    columns = "number, name, applied_at, serves_from"
    query(database, f"INSERT INTO schema_migrations ({columns}) VALUES (9999, '9999_later', 0, 9999)")

    completed = run(*words, "--database", database)

    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-1] == (
        f"sessionary: The database was migrated by a newer sessionary (migration 9999; this one knows {len(NAMES)})."
    )
    assert count_rows(database, "tokens") == 0


def test_a_server_with_migrations_turned_off_refuses_an_outdated_database(
    run: Run, database: str, tmp_path: Path
) -> None:
    completed = run("serve", "--port", "0", "--no-migrate", "--database", database)
    assert completed.returncode == 1
    said = f"sessionary: Migrations are pending: {', '.join(NAMES)}. Run: sessionary migrate"
    assert completed.stderr.splitlines()[-1] == said
    assert not (tmp_path / "store.db").exists()


def test_a_migration_that_fails_leaves_nothing_behind(run: Run, database: str) -> None:
    query(database, "CREATE TABLE turns (mine integer)")

    completed = run("migrate", "--database", database)

    assert completed.returncode == 1
    assert completed.stderr.startswith("sessionary: The database ")
    assert "already exists" in completed.stderr
    assert "Traceback" not in completed.stderr
    check = run("migrate", "--check", "--database", database)
    assert (check.returncode, check.stdout) == (1, PENDING)
    names = "SELECT name FROM sqlite_schema" if database.startswith("sqlite") else "SELECT tablename FROM pg_tables"
    assert ("sessions",) not in query(database, names)
