"""Paths in the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "sessionary"
TESTS = ROOT / "tests"
DOCS = ROOT / "docs"
SQL = PACKAGE / "server" / "store" / "sql"
