"""The import contracts of pyproject.toml, each tried on a copy of the source with a planted import."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layout.paths import PACKAGE, ROOT

# A file, the import that is planted there, and the contract that it breaks.
PLANTS = [
    ("constants.py", "import sessionary.errors", "points down"),
    ("models.py", "import sessionary.server.store.base", "points down"),
    ("server/store/base.py", "import sessionary.server.operations.context", "points down"),
    ("server/operations/context.py", "import sessionary.server.http.routes", "points down"),
    ("server/http/routes.py", "import sessionary.server.config", "points down"),
    ("server/config.py", "import sessionary.server.run", "points down"),
    ("server/run.py", "import sessionary.cli.main", "points down"),
    ("client/calls.py", "import sessionary.server.store.base", "points down"),
    ("client/calls.py", "import sessionary.server.operations.sessions", "points down"),
    ("server/store/base.py", "import sessionary.client.request_specs", "points down"),
    ("somewhere.py", "", "points down"),
    ("server/somewhere.py", "", "points down"),
    ("client/calls.py", "import uvloop", "server's libraries"),
    ("server/operations/context.py", "import uvicorn", "web framework"),
    ("server/operations/context.py", "import asyncpg", "web framework"),
    ("server/operations/context.py", "import starlette", "web framework"),
    ("server/store/rules.py", "import httpx2", "HTTP library"),
    ("server/run.py", "import httpx2", "HTTP library"),
    ("errors.py", "import asyncio", "do no I/O"),
]


def test_the_source_follows_every_contract(tmp_path: Path) -> None:
    _copy(tmp_path)
    kept = _lint_imports(tmp_path)
    assert kept.returncode == 0, kept.stdout
    assert "6 kept, 0 broken" in kept.stdout


@pytest.mark.parametrize(("name", "line", "contract"), PLANTS)
def test_a_planted_import_breaks_the_contract(name: str, line: str, contract: str, tmp_path: Path) -> None:
    planted = _copy(tmp_path) / name
    if not planted.parent.exists():
        planted.parent.mkdir()
        (planted.parent / "__init__.py").touch()
    if name.startswith("client") or "client" in line:
        (tmp_path / "sessionary" / "client").mkdir(exist_ok=True)
        (tmp_path / "sessionary" / "client" / "__init__.py").touch()
        (tmp_path / "sessionary" / "client" / "calls.py").touch()
    planted.write_text(f"{line}\n{planted.read_text() if planted.exists() else ''}")

    broken = _lint_imports(tmp_path)

    assert broken.returncode != 0
    assert any(contract in row and row.endswith("BROKEN") for row in broken.stdout.splitlines()), broken.stdout


def _copy(root: Path) -> Path:
    return Path(shutil.copytree(PACKAGE, root / "sessionary", ignore=shutil.ignore_patterns("__pycache__")))


def _lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "250"},
        capture_output=True,
        text=True,
        check=False,
    )
