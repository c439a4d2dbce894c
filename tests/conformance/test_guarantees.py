"""The suite is whole: every promise has its file, and the reference it is compared with is nobody's echo."""

import ast
from pathlib import Path

from sessionary.server.store.base import Store

HERE = Path(__file__).parent


def test_every_guarantee_of_the_contract_is_the_docstring_of_a_test_file() -> None:
    promises = [line.strip() for line in (Store.__doc__ or "").partition("\n\n")[2].splitlines() if line.strip()]

    heads = {ast.get_docstring(ast.parse(file.read_text())) for file in HERE.glob("test_*.py")}

    assert len(promises) >= 7
    assert [promise for promise in promises if promise not in heads] == []


def test_the_reference_does_not_use_the_rules_it_checks() -> None:
    tree = ast.parse((HERE.parent / "reference.py").read_text())

    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    words = {"sessionary.errors", "sessionary.models", "sessionary.server.store.base"}
    assert {name for name in imported if name and name.startswith("sessionary")} == words
