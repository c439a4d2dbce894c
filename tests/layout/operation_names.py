"""The rule that an operation has one name everywhere: function, route, documentation and tests."""

import ast
from pathlib import Path

from tests.layout.code import source_files
from tests.layout.documents import headings

# The six operations of the contract. Others may be added, and follow the same rule; none may be removed.
REQUIRED = frozenset(
    {"create_session", "list_sessions", "get_session", "update_session", "extend_session", "delete_session"}
)


def operations(root: Path) -> set[str]:
    """Return the names of the operations: the public coroutine functions of one module."""
    module = root / "src" / "sessionary" / "server" / "operations" / "sessions.py"
    return {
        node.name
        for node in ast.parse(module.read_text(encoding="utf-8")).body
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_")
    }


def operations_missing(root: Path) -> list[str]:
    """Every operation of the contract is a function."""
    return sorted(f"{name} is not an operation" for name in REQUIRED - operations(root))


def operations_without_route(root: Path) -> list[str]:
    """Every operation is one line in the table of routes."""
    module = root / "src" / "sessionary" / "server" / "http" / "routes.py"
    lines = module.read_text(encoding="utf-8").splitlines()
    tree = ast.parse("\n".join(lines))
    used = [
        (node.attr, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    ] + [(node.id, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Name)]
    rows = {name: {line for used_name, line in used if used_name == name} for name in operations(root)}
    return sorted(f"{name} is in {len(lines)} lines" for name, lines in rows.items() if len(lines) != 1)


def operations_without_heading(root: Path) -> list[str]:
    """Every operation has its own heading in the reference."""
    found = [heading.split() for heading in headings(root / "docs" / "api.md")]
    return sorted(f"{name} has no heading" for name in operations(root) if not any(name in words for words in found))


def operations_without_test(root: Path) -> list[str]:
    """Every operation has tests that begin with its name."""
    tests = {
        node.name
        for file in source_files(root / "tests")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return sorted(
        f"{name} has no test"
        for name in operations(root)
        if not any(test.startswith(f"test_{name}_") for test in tests)
    )
