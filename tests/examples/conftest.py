"""What the examples need: a server, a token, and an OpenAI-compatible endpoint."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.programs import EXAMPLES, line_printed_by
from tests.harness.server import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('examples')}/sessionary.db") as running:
        yield running


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    with line_printed_by([sys.executable, str(EXAMPLES / "fake_model.py"), "0"]) as line:
        yield line.removeprefix("OPENAI_BASE_URL=")


@pytest.fixture
def environment(server: ServerProcess, model_url: str) -> dict[str, str]:
    """The environment variables that an example's header names, with `sessionary` on the path."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("SESSIONARY_")},
        "SESSIONARY_URL": server.base_url,
        "SESSIONARY_ORGANISATION": "demo",
        "SESSIONARY_TOKEN": server.create_token("demo"),
        "OPENAI_BASE_URL": model_url,
        "OPENAI_MODEL": "fake",
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
    }
