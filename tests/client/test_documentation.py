"""The documentation of the client: every code block runs, and every public name is shown."""

import ast
import sys
from pathlib import Path
from typing import Final

import pytest

import sessionary
from tests.client.clients import Endpoint
from tests.docs.blocks import Block, blocks, run_shell

PAGE: Final = "docs/client.md"
PYTHON: Final = blocks(PAGE, "python")


@pytest.mark.parametrize("number", range(len(PYTHON)), ids=[block.heading for block in PYTHON])
def test_each_code_block_runs(number: int, our_endpoint: Endpoint, organisation: str, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(PYTHON[number].text)
    environment = {
        "SESSIONARY_URL": our_endpoint.url,
        "SESSIONARY_TOKEN": our_endpoint.token,
        "SESSIONARY_ORGANISATION": organisation,
    }
    run_shell(f"{sys.executable} -W error block.py", tmp_path, environment)


def test_every_public_name_is_documented() -> None:
    used = {name for block in PYTHON for name in _names(block)}
    assert set(sessionary.__all__) - used == set()


def _names(block: Block) -> set[str]:
    tree = ast.parse(block.text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
