"""The rule that an operation has one name everywhere, tried on the real tree and on planted breaks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.layout import operation_names
from tests.layout.paths import ROOT

Rule = Callable[[Path], list[str]]

RULES: list[Rule] = [
    operation_names.operations_missing,
    operation_names.operations_without_route,
    operation_names.operations_without_heading,
    operation_names.operations_without_test,
]

OPERATIONS = "src/sessionary/server/operations/sessions.py"
ROUTES = "src/sessionary/server/http/routes.py"
REFERENCE = "docs/api.md"
TEST = "tests/http/test_sessions.py"

# A text that is replaced in one file of a small tree that follows the rules.
PLANTS: list[tuple[Rule, str, str, str]] = [
    (operation_names.operations_missing, OPERATIONS, "def extend_session", "def _extend_session"),
    (operation_names.operations_missing, OPERATIONS, "async def extend_session", "def extend_session"),
    (operation_names.operations_without_route, ROUTES, "handlers.extend_session", "handlers.extend"),
    (operation_names.operations_without_route, ROUTES, "handlers.extend_session", "handlers.update_session"),
    (
        operation_names.operations_without_route,
        OPERATIONS,
        "async def extend",
        "async def fork_session(): ...\nasync def extend",
    ),
    (operation_names.operations_without_heading, REFERENCE, "## `extend_session`", "## Extending"),
    (operation_names.operations_without_heading, REFERENCE, "## `extend_session`", "extend_session"),
    (operation_names.operations_without_heading, REFERENCE, "## `extend_session`", "```sh\n# extend_session\n```"),
    (operation_names.operations_without_test, TEST, "test_extend_session_adds_up", "test_extending_adds_up"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_follows_the_rule(rule: Rule) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize(("rule", "name", "old", "new"), PLANTS, ids=lambda value: getattr(value, "__name__", "_"))
def test_a_planted_break_of_the_rule_is_found(rule: Rule, name: str, old: str, new: str, tmp_path: Path) -> None:
    _make_small_tree(tmp_path)
    assert rule(tmp_path) == [], "the small tree follows the rule"
    file = tmp_path / name
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new, 1))
    assert rule(tmp_path) != []


def test_every_rule_has_a_planted_break() -> None:
    assert {rule for rule, *_ in PLANTS} == set(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_fails_on_an_empty_tree(rule: Rule, tmp_path: Path) -> None:
    with pytest.raises((FileNotFoundError, AssertionError)):
        rule(tmp_path)


def _make_small_tree(root: Path) -> None:
    every = sorted(operation_names.REQUIRED)
    texts = {
        OPERATIONS: "".join(f"async def {name}(): ...\n" for name in every),
        ROUTES: "ROUTES = (\n" + "".join(f"    ('PUT', handlers.{name}),\n" for name in every) + ")\n",
        REFERENCE: "# The reference\n\n" + "".join(f"## `{name}`\n\nSays.\n\n" for name in every),
        TEST: "".join(f"def test_{name}_adds_up(): ...\n" for name in every),
    }
    for name, text in texts.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
