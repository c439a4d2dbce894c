"""The shell completes commands, options and what they take."""

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.layout.places import DOCS

PROGRAM = Path(sys.executable).with_name("sessionary")


def completed(run: Run, *words: str) -> list[str]:
    """What bash is offered for the last word."""
    line = {"COMP_WORDS": " ".join(["sessionary", *words]), "COMP_CWORD": str(len(words))}
    answer = run(environment={"_SESSIONARY_COMPLETE": "bash_complete", **line})
    assert answer.returncode == 0, answer.stderr
    return [line.partition(",")[2] for line in answer.stdout.splitlines()]


def test_commands_are_completed(run: Run) -> None:
    assert completed(run, "cre") == ["create-session"]
    assert {"list-sessions", "get-session", "import", "export", "chat", "serve", "tokens"} <= set(completed(run, ""))
    assert completed(run, "tokens", "re") == ["revoke"]


def test_options_and_their_values_are_completed(run: Run) -> None:
    assert completed(run, "update-session", "x", "--tok") == ["--tokens-used", "--token"]
    assert {"--user-id", "--session-group", "--message", "--json"} <= set(completed(run, "create-session", "--"))
    assert completed(run, "list-sessions", "--status", "") == ["active", "completed"]
    assert completed(run, "create-session", "--message", "u") == ["user:"]
    assert completed(run, "create-session", "--messages", "some") == ["some"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script_as_documented(run: Run, shell: str) -> None:
    answer = run(environment={"_SESSIONARY_COMPLETE": f"{shell}_source"})
    if shell == "bash" and answer.returncode:
        pytest.skip(answer.stderr)
    assert "_SESSIONARY_COMPLETE" in answer.stdout
    assert f"_SESSIONARY_COMPLETE={shell}_source sessionary" in (DOCS / "cli.md").read_text()
