"""Export and import of many sessions at constant memory. The full test: `ROUND_TRIP_SESSIONS=100000`."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.live_server import Measured, Tenant, running_server
from tests.cli.sample_sessions import count_sessions, lines, session, without_server_fields, write

SESSIONS = int(os.environ.get("ROUND_TRIP_SESSIONS", "250"))
MEGABYTES_MAX = 200

pytestmark = pytest.mark.timeout(120 + SESSIONS // 5)


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with running_server(tmp_path_factory.mktemp("round-trip")) as tenant:
        yield tenant


def test_all_sessions_survive_import_and_export_at_constant_memory(tenant: Tenant, tmp_path: Path) -> None:
    original = write(tmp_path / "original.jsonl", map(session, range(SESSIONS)))
    first, second = tenant.of("first"), tenant.of("second")

    took = {
        "import": first.measure("import", str(original), directory=tmp_path),
        "export": first.measure("export", "--output", "exported.jsonl", directory=tmp_path),
        "import of the export": second.measure("import", "exported.jsonl", directory=tmp_path),
        "import once more": second.measure("import", "exported.jsonl", directory=tmp_path),
        "export of the import": second.measure("export", "--output", "again.jsonl", directory=tmp_path),
    }

    for name, measured in took.items():
        rate = SESSIONS / measured.seconds
        sys.stdout.write(f"{name}: {measured.seconds:.1f} s, {rate:.0f}/s, {measured.megabytes:.0f} MB at most\n")
        _check(measured)
    expected = count_sessions(lines(original))
    assert count_sessions(lines(tmp_path / "exported.jsonl")) == expected
    assert count_sessions(lines(tmp_path / "again.jsonl")) == expected
    for first_line, second_line in zip(
        lines(tmp_path / "exported.jsonl"), lines(tmp_path / "again.jsonl"), strict=True
    ):
        assert without_server_fields(first_line) == without_server_fields(second_line)
    assert took["import once more"].completed.stdout == (
        f"exported.jsonl: 0 imported, {SESSIONS} already there\n".encode()
    )


def _check(measured: Measured) -> None:
    assert measured.completed.returncode == 0, measured.completed.stderr.decode()
    assert measured.megabytes < MEGABYTES_MAX
