"""Runs the README's first block and the whole tutorial in a fresh clone with nothing installed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks, joined_script, run_shell
from tests.docs.test_readme import conversation_blocks
from tests.e2e.terminal import copy_output, open_terminal
from tests.harness.processes import dies_with_parent, free_port
from tests.harness.waiting import poll
from tests.layout.documents import tracked_files
from tests.layout.paths import ROOT

pytestmark = pytest.mark.timeout(400)

_NOT_RUN = {
    "make test\n": "this test is part of what it runs",
    ".venv/bin/sessionary serve --database postgresql://user:password@host/name\n": (
        "a placeholder; tests/e2e starts servers on PostgreSQL"
    ),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("clone")
    for file in tracked_files(ROOT):
        copy = directory / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    return directory


@pytest.fixture(scope="module")
def started(clone: Path) -> Iterator[tuple[int, Path]]:
    """Run the README's first block as written, except for a free port; yields the port and the file with its output."""
    port = free_port()
    printed = clone / "printed.txt"
    first = blocks("README.md", "sh")[0].text
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    controlling, terminal = open_terminal()
    watcher = threading.Thread(target=copy_output, args=(controlling, printed))
    printed.write_bytes(b"")
    with os.fdopen(terminal, "wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", first],
            cwd=clone,
            env={"PATH": path, "HOME": str(clone), "SESSIONARY_PORT": str(port)} | _network(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509 - calls prctl and nothing else
            start_new_session=True,
        )
        output.close()
        watcher.start()
        try:
            poll(
                lambda: _has_ended(process) or b"curl" in printed.read_bytes(), "the server's first output", seconds=240
            )
            yield port, printed
        finally:
            subprocess.run(["pkill", "-TERM", "-s", str(process.pid)], check=False)
            process.wait(timeout=20)
            watcher.join(timeout=20)
            os.close(controlling)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"the first block ended with {process.returncode}")
    return False


def _network() -> dict[str, str]:
    """Return the variables with which pip reaches a package index from this machine."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "_proxy" in name.lower()}


def test_the_first_block_of_the_readme_starts_a_server_and_prints_a_working_curl_command(
    started: tuple[int, Path], clone: Path
) -> None:
    port, printed = started
    output = printed.read_text()
    curl = re.search(r"^  (curl .*?\}')$", output, re.MULTILINE | re.DOTALL)
    assert curl is not None, output
    assert f"http://127.0.0.1:{port}" in output
    assert "sessionary.db" in output
    assert (clone / "sessionary.db").exists()
    assert '"status":"active"' in run_shell(curl[1], clone, {})


def test_the_first_blocks_of_tutorial_and_readme_are_the_same() -> None:
    assert blocks("docs/tutorial.md", "sh")[0].text == blocks("README.md", "sh")[0].text


def test_the_tutorial_works_block_by_block(started: tuple[int, Path], clone: Path) -> None:
    port, _ = started
    rest = [_on_port(block, port) for block in blocks("docs/tutorial.md", "sh", "python")[1:]]
    printed = run_shell(joined_script(rest), clone, {"SESSIONARY_PORT": str(port)} | _network())
    assert '"totalMessages":3,"totalTokens":42' in printed
    assert '"title":"How do I reset my password?"' in printed
    assert '"messages_offset":2' in printed
    assert "Session extended by 30 minutes" in printed
    assert "Session deleted successfully" in printed


def test_every_block_of_the_readme_that_no_test_runs_has_a_reason() -> None:
    others = [block for block in blocks("README.md", "sh")[1:] if block not in conversation_blocks()]
    assert [block.text for block in others if block.text not in _NOT_RUN] == []


def _on_port(block: Block, port: int) -> Block:
    return block._replace(text=block.text.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
