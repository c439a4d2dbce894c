"""The rules for source files, each tried on the real tree and on planted breaks."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.layout import code
from tests.layout.paths import PACKAGE, TESTS

Rule = Callable[[Path], list[str]]

RULES: list[Rule] = [
    code.files_too_long,
    code.functions_too_long,
    code.packages_not_empty,
    code.vague_names,
    code.exports_out_of_order,
    code.hidden_inputs,
]

# For each rule, files that break it.
PLANTS: list[tuple[Rule, str, str]] = [
    (code.files_too_long, "server/store/long.py", "a = 1\n" * 301),
    (code.functions_too_long, "server/store/long.py", "def long():\n" + "    a = 1\n" * 40),
    (code.functions_too_long, "server/store/long.py", "class A:\n  async def long(self):\n" + "    a = 1\n" * 40),
    (code.packages_not_empty, "server/store/__init__.py", '"""Text."""\n'),
    (code.vague_names, "server/store/utils.py", ""),
    (code.vague_names, "server/http/session_manager.py", ""),
    (code.vague_names, "helpers/__init__.py", ""),
    (code.exports_out_of_order, "__init__.py", '__all__ = ["b", "a"]\n'),
    (code.exports_out_of_order, "__init__.py", '__all__ = ["a", "a"]\n'),
    (code.exports_out_of_order, "__init__.py", "__all__ = []\n"),
    (code.exports_out_of_order, "__init__.py", "nothing = 1\n"),
    (code.hidden_inputs, "server/store/clock.py", "import time\nnow = time.time()\n"),
    (code.hidden_inputs, "server/http/clock.py", "from time import time_ns as now\nprint(now())\n"),
    (code.hidden_inputs, "models.py", "from datetime import datetime\nstart = datetime.now()\n"),
    (code.hidden_inputs, "server/operations/place.py", "import os\nplace = os.environ['PLACE']\n"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_follows_the_rule(rule: Rule) -> None:
    assert rule(PACKAGE) == []


@pytest.mark.parametrize(("rule", "name", "text"), PLANTS, ids=lambda value: getattr(value, "__name__", "_"))
def test_a_planted_break_of_the_rule_is_found(rule: Rule, name: str, text: str, tmp_path: Path) -> None:
    package = _make_small_package(tmp_path)
    assert rule(package) == [], "the small package follows the rule"
    planted = package / name
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(text)
    assert rule(package) != []


def test_every_rule_has_a_planted_break() -> None:
    assert {rule for rule, _, _ in PLANTS} == set(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_fails_on_an_empty_tree(rule: Rule, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, OSError)):
        rule(tmp_path)


def test_docstrings_comments_and_blank_lines_are_not_counted(tmp_path: Path) -> None:
    package = _make_small_package(tmp_path)
    text = 'def short():\n    """Say.\n' + "    more\n" * 400 + '    """\n' + "    # why\n\n" * 400
    (package / "server" / "store" / "short.py").write_text(text + "    a = 1\n" * 39)
    assert code.functions_too_long(package) == []
    assert code.files_too_long(package) == []


def test_test_packages_do_not_shadow_the_standard_library() -> None:
    """A package `tests/http` or `tests/typing` would be imported instead of the standard library's in some process."""
    packages = {file.parent.relative_to(TESTS).as_posix() for file in TESTS.rglob("__init__.py")}
    assert packages >= {".", "harness"}
    assert not packages & set(sys.stdlib_module_names)


def test_every_public_name_exists() -> None:
    package = importlib.import_module("sessionary")
    missing = [name for name in package.__all__ if not hasattr(package, name)]
    assert package.__all__
    assert missing == []


def test_the_reference_store_does_not_use_the_rules_of_the_store() -> None:
    """It would repeat every mistake of the rules that it shared."""
    imported = {name for name in code.modules_imported(TESTS / "reference.py") if "store.rules" in name}
    assert imported == set()


SERVER_MODULES_MAX = 370
"""In addition to the modules that Python itself loads when it starts."""


def test_the_server_loads_few_modules() -> None:
    script = "import sys; before = set(sys.modules); import sessionary.server.run, sessionary.server.store.sqlite.store"
    count = f"{script}; print(len(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", count], check=True, capture_output=True, text=True)
    assert int(run.stdout) <= SERVER_MODULES_MAX


def test_the_server_starts_without_the_clients_http_library() -> None:
    script = "import sys, sessionary, sessionary.cli.main, sessionary.server.run; sys.exit('httpx2' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr or "httpx2 was imported"


def _make_small_package(root: Path) -> Path:
    package = root / "sessionary"
    for name in ("server/store", "server/http", "server/operations"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
    (package / "__init__.py").write_text('__all__ = ["A", "b"]\n')
    (package / "cli").mkdir()
    (package / "cli" / "main.py").write_text("import time\nnow = time.time()\n")
    (package / "server" / "store" / "base.py").write_text("import time\nnow = time.monotonic()\n")
    return package
