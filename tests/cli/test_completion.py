"""Shell completion of commands, options and values."""

import pytest

from tests.harness.server import run_sessionary
from tests.layout.paths import DOCS


def completed(*words: str) -> list[str]:
    """What bash is offered for the last word."""
    line = {"COMP_WORDS": " ".join(["sessionary", *words]), "COMP_CWORD": str(len(words))}
    answer = run_sessionary(environment={"_SESSIONARY_COMPLETE": "bash_complete", **line})
    assert answer.returncode == 0, answer.stderr
    return [line.partition(",")[2] for line in answer.stdout.splitlines()]


def test_commands_are_completed() -> None:
    assert completed("cre") == ["create-session"]
    assert {"list-sessions", "get-session", "import", "export", "chat", "serve", "tokens"} <= set(completed(""))
    assert completed("tokens", "re") == ["revoke"]


def test_options_and_their_values_are_completed() -> None:
    assert completed("update-session", "x", "--tok") == ["--tokens-used", "--token"]
    assert {"--user-id", "--session-group", "--message", "--json"} <= set(completed("create-session", "--"))
    assert completed("list-sessions", "--status", "") == ["active", "completed"]
    assert completed("create-session", "--message", "u") == ["user:"]
    assert completed("create-session", "--messages", "some") == ["some"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script_as_documented(shell: str) -> None:
    answer = run_sessionary(environment={"_SESSIONARY_COMPLETE": f"{shell}_source"})
    if shell == "bash" and answer.returncode:
        pytest.skip(answer.stderr)
    assert "_SESSIONARY_COMPLETE" in answer.stdout
    assert f"_SESSIONARY_COMPLETE={shell}_source sessionary" in (DOCS / "cli.md").read_text()
