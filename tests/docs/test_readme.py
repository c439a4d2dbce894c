"""The README's conversation: its Python and its curl, with the server restarted in between."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks, run_shell
from tests.examples.programs import EXAMPLES, line_printed_by
from tests.harness.server import ServerProcess

HEADING = "Store a conversation, and resume it"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('readme')}/sessionary.db") as running:
        yield running


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    with line_printed_by([sys.executable, str(EXAMPLES / "fake_model.py"), "0"]) as line:
        yield line.removeprefix("OPENAI_BASE_URL=")


def test_the_conversation_of_the_readme_is_resumed_after_a_restart(
    server: ServerProcess, model_url: str, tmp_path: Path
) -> None:
    prepare, first, second, curl = (block.text for block in conversation_blocks())
    (tmp_path / "chat.py").write_text(blocks("README.md", "python")[0].text)
    prepare = prepare.replace("http://127.0.0.1:8080", server.base_url).replace("http://127.0.0.1:11434/v1", model_url)

    def run(block: str) -> str:
        return run_shell(prepare + block, tmp_path, environment(server, tmp_path))

    assert run(first).endswith("Nice to meet you, Ada.\n")
    server.restart()
    assert run(second).endswith("Your name is Ada.\n")
    assert '"totalMessages":2,"totalTokens":12' in run(curl)


def test_every_python_block_of_the_readme_is_run() -> None:
    assert [block.heading for block in blocks("README.md", "python")] == [HEADING]


def conversation_blocks() -> list[Block]:
    """Return the shell blocks of the conversation, in their order."""
    return [block for block in blocks("README.md", "sh") if block.heading == HEADING]


def environment(server: ServerProcess, directory: Path) -> dict[str, str]:
    """Return what a reader has: this Python's programs on the path instead of those of a new `.venv`."""
    activate = directory / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True, exist_ok=True)
    activate.touch()
    return {
        "SESSIONARY_DATABASE": server.database,
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}:/usr/local/bin",
    }
