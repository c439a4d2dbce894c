"""The rules for documents and tracked files, tried on the real tree and on planted breaks."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.layout import documents
from tests.layout.paths import ROOT


def test_every_command_is_documented() -> None:
    from sessionary.cli.main import commands as top  # noqa: PLC0415 - the other tests here run even if it is broken

    commands = list(_commands(top, "sessionary"))
    assert {"sessionary serve", "sessionary tokens create"} <= set(commands)
    assert documents.undocumented(commands, documents.documents(ROOT)) == []


def test_every_setting_is_documented_with_its_name_and_variable() -> None:
    from sessionary.server.config import setting_descriptions, variable_name  # noqa: PLC0415 - as above

    settings = list(setting_descriptions())
    assert {"host", "port", "database"} <= set(settings)
    words = [*settings, *map(variable_name, settings)]
    assert documents.undocumented(words, [ROOT / "docs" / "operating.md"]) == []


def test_every_code_block_is_in_a_language_that_is_checked() -> None:
    assert documents.blocks_not_checked(ROOT) == []


def test_every_defence_in_security_names_its_test() -> None:
    page = ROOT / "SECURITY.md"
    assert documents.tests_named_but_missing(ROOT, page) == []
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    assert [row for row in rows if "tests/" not in row.rpartition(" | ")[2]] == []


def test_every_guarantee_names_its_test() -> None:
    page = ROOT / "docs" / "guarantees.md"
    assert documents.tests_named_but_missing(ROOT, page) == []
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    promises = [row.split(" | ") for row in rows if not row.startswith("| promise ")]
    assert len(promises) > 30
    assert [cells[0] for cells in promises if "tests/" not in cells[1]] == []
    files = set(re.findall(r"`(tests/[\w/]+\.py)", page.read_text()))
    assert sorted(file for file in files if not (ROOT / file).is_file()) == []


def test_a_missing_test_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`tests/test_a.py::test_one`, `tests/test_a.py::test_two`, `tests/test_b.py::test_one`")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("async def test_one() -> None: ...\n\n\ndef test_two_more(): ...\n")
    missing = ["tests/test_a.py::test_two", "tests/test_b.py::test_one"]
    assert documents.tests_named_but_missing(tmp_path, page) == missing
    page.write_text("none")
    with pytest.raises(AssertionError, match="names no test"):
        documents.tests_named_but_missing(tmp_path, page)


def test_no_file_contains_a_registry_host_or_a_path_of_this_machine() -> None:
    assert documents.machine_traces(ROOT) == []


@pytest.mark.parametrize("block", ["```\nx\n```", "```klingon\nx\n```", "~~~\nx\n~~~", "````klingon\n```sh\n```\n````"])
def test_a_block_in_another_language_is_found(block: str, tmp_path: Path) -> None:
    page = _make_small_docs(tmp_path)
    assert documents.blocks_not_checked(tmp_path) == []
    page.write_text(f"{page.read_text()}\n{block}\n")
    assert len(documents.blocks_not_checked(tmp_path)) == 1


def test_a_block_that_is_not_closed_is_found(tmp_path: Path) -> None:
    page = _make_small_docs(tmp_path)
    page.write_text(f"{page.read_text()}\n```sh\nrm\n")
    with pytest.raises(AssertionError, match="not closed"):
        documents.blocks_not_checked(tmp_path)


def test_documents_without_a_block_or_a_page_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"no README\.md"):
        documents.blocks_not_checked(tmp_path)
    _make_small_docs(tmp_path).write_text("nothing")
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(AssertionError, match="no code block"):
        documents.blocks_not_checked(tmp_path)


def test_a_word_inside_another_word_does_not_count(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`--database-url`, `SESSIONARY_PORT`, `sessionary tokens create-many`, `--host`")
    wanted = ["--database", "SESSIONARY_PORT", "sessionary tokens create", "--host", "PORT"]
    assert documents.undocumented(wanted, [page]) == ["--database", "sessionary tokens create", "PORT"]
    with pytest.raises(AssertionError, match="nothing to look for"):
        documents.undocumented([], [page])


@pytest.mark.parametrize(
    "line",
    [
        "index = https://" + "pypi" + ".org/simple",
        "see https://files." + "python" + "hosted.org/x",
        "'resolved': 'https://registry." + "npm" + "js.org/x'",
        "deb http://deb." + "debian" + ".org/debian stable main",
        "cd /" + "work/main",
        "PATH=/" + "root/.local/bin",
        "open('/" + "home/someone/x')",
    ],
)
def test_a_registry_host_or_machine_path_is_found(line: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("ignored\n")
    (tmp_path / "ignored").write_text(line)
    assert documents.machine_traces(tmp_path) == []
    (tmp_path / "notes.txt").write_text(f"first\n{line}\n")
    assert [line.partition(" ")[0] for line in documents.machine_traces(tmp_path)] == ["notes.txt:2:"]


def test_paths_of_the_service_are_allowed(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "notes.txt").write_text(
        "/var/lib/sessionary/sessionary.db\nhttp://127.0.0.1/workspace/x\nhome/work/x\n"
    )
    assert documents.machine_traces(tmp_path) == []


def test_a_tree_without_tracked_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        documents.machine_traces(tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    with pytest.raises(AssertionError, match="git tracks nothing"):
        documents.machine_traces(tmp_path)


def _commands(command: click.Command, name: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield name
        return
    for word, below in command.commands.items():
        yield from _commands(below, f"{name} {word}")


def _make_small_docs(root: Path) -> Path:
    (root / "docs").mkdir()
    (root / "README.md").write_text("# It\n\n```sh\nls\n```\n")
    page = root / "docs" / "page.md"
    page.write_text("# Page\n\n````text\n```\nnested\n```\n````\n")
    return page
