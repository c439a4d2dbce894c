"""The README and the tutorial, in a clone, with nothing installed: block by block as they stand."""

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

from tests.docs.blocks import Block, blocks, pasted, run_shell
from tests.docs.test_readme import conversation_blocks
from tests.e2e.starting import copy, terminal
from tests.harness.processes import dies_with_parent, free_port
from tests.harness.waiting import poll
from tests.layout.documents import tracked_files
from tests.layout.places import ROOT

pytestmark = pytest.mark.timeout(400)

_NOT_PASTED = {
    "make test\n": "this test is what it runs",
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
    """The README's first block, running; its port is a free one instead of 8080, everything else is as written."""
    port = free_port()
    printed = clone / "printed.txt"
    first = blocks("README.md", "sh")[0].text
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    ours, theirs = terminal()
    watcher = threading.Thread(target=copy, args=(ours, printed))
    printed.write_bytes(b"")
    with os.fdopen(theirs, "wb") as output:
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
            poll(lambda: _ended(process) or b"curl" in printed.read_bytes(), "a server's greeting", seconds=240)
            yield port, printed
        finally:
            subprocess.run(["pkill", "-TERM", "-s", str(process.pid)], check=False)
            process.wait(timeout=20)
            watcher.join(timeout=20)
            os.close(ours)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"the first block ended with {process.returncode}")
    return False


def _network() -> dict[str, str]:
    """How this machine reaches the package registry is not for a page to say."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "_proxy" in name.lower()}


def test_the_first_block_of_the_readme_starts_a_server_whose_curl_works(started: tuple[int, Path], clone: Path) -> None:
    port, printed = started
    greeting = printed.read_text()
    curl = re.search(r"^  (curl .*?\}')$", greeting, re.MULTILINE | re.DOTALL)
    assert curl is not None, greeting
    assert f"http://127.0.0.1:{port}" in greeting
    assert "sessionary.db" in greeting
    assert (clone / "sessionary.db").exists()
    assert '"status":"active"' in run_shell(curl[1], clone, {})


def test_the_tutorial_starts_as_the_readme_does() -> None:
    assert blocks("docs/tutorial.md", "sh")[0].text == blocks("README.md", "sh")[0].text


def test_the_tutorial_works_block_by_block(started: tuple[int, Path], clone: Path) -> None:
    port, _ = started
    rest = [_on_port(block, port) for block in blocks("docs/tutorial.md", "sh", "python")[1:]]
    answers = run_shell(pasted(rest), clone, {"SESSIONARY_PORT": str(port)} | _network())
    assert '"totalMessages":3,"totalTokens":42' in answers
    assert '"title":"How do I reset my password?"' in answers
    assert '"messages_offset":2' in answers
    assert "Session extended by 30 minutes" in answers
    assert "Session deleted successfully" in answers


def test_every_other_block_of_the_readme_has_a_reason_not_to_be_pasted() -> None:
    others = [block for block in blocks("README.md", "sh")[1:] if block not in conversation_blocks()]
    assert [block.text for block in others if block.text not in _NOT_PASTED] == []


def _on_port(block: Block, port: int) -> Block:
    return block._replace(text=block.text.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
