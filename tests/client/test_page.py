"""The page about the client: every block runs as it stands, and shows every public name."""

import ast
import sys
from pathlib import Path
from typing import Final

import pytest

import sessionary
from tests.client.calling import Place
from tests.docs.blocks import Block, blocks, run_shell

PAGE: Final = "docs/client.md"
PYTHON: Final = blocks(PAGE, "python")


@pytest.mark.parametrize("number", range(len(PYTHON)), ids=[block.heading for block in PYTHON])
def test_a_block_runs_as_it_stands(number: int, ours: Place, organisation: str, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(PYTHON[number].text)
    environment = {
        "SESSIONARY_URL": ours.url,
        "SESSIONARY_TOKEN": ours.token,
        "SESSIONARY_ORGANISATION": organisation,
    }
    run_shell(f"{sys.executable} -W error block.py", tmp_path, environment)


def test_every_public_name_is_shown_at_work() -> None:
    used = {name for block in PYTHON for name in _names(block)}
    assert set(sessionary.__all__) - used == set()


def _names(block: Block) -> set[str]:
    tree = ast.parse(block.text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
