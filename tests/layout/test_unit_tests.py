"""The rule about the paths of unit tests, tried on the real tree and on planted breaks."""

from pathlib import Path

import pytest

from tests.layout.paths import ROOT
from tests.layout.unit_tests import unit_tests_without_module


def test_every_unit_test_mirrors_a_module() -> None:
    assert unit_tests_without_module(ROOT) == []


@pytest.mark.parametrize("name", ["test_timestamps.py", "server/test_rules.py", "server/store/test_rule.py"])
def test_a_unit_test_without_its_module_is_found(name: str, tmp_path: Path) -> None:
    _make_small_tree(tmp_path)
    assert unit_tests_without_module(tmp_path) == []
    (tmp_path / "tests" / "unit" / name).touch()
    assert [line.partition(":")[0] for line in unit_tests_without_module(tmp_path)] == [
        str(tmp_path / "tests" / "unit" / name)
    ]


def test_a_tree_without_unit_tests_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no test files"):
        unit_tests_without_module(tmp_path)


def _make_small_tree(root: Path) -> None:
    for name in (
        "src/sessionary/errors.py",
        "src/sessionary/server/store/rules.py",
        "src/sessionary/server/store/token_uses.py",
        "tests/unit/test_errors.py",
        "tests/unit/server/store/test_rules.py",
        "tests/unit/server/store/test_rules_of_batches.py",
        "tests/unit/server/store/test_token_uses.py",
    ):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
