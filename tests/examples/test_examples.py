"""Every example, as a process of its own, against a real server and a stand-in for a model."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.examples.programs import EXAMPLES, run
from tests.harness.processes import dies_with_parent, free_port, tail
from tests.harness.waiting import poll
from tests.layout.documents import tracked_files
from tests.layout.paths import ROOT

BOT = [sys.executable, str(EXAMPLES / "command_line_bot.py")]


def test_the_bot_remembers_a_conversation_after_it_was_closed(environment: dict[str, str]) -> None:
    assert "Nice to meet you, Ada." in run([*BOT, "ada"], environment, "My name is Ada.\n")
    printed = run([*BOT, "ada"], environment, "What is my name?\n")
    assert "user: My name is Ada." in printed
    assert "Your name is Ada." in printed
    assert ": 4 messages, " in printed


def test_a_new_conversation_of_the_bot_knows_nothing_of_earlier_ones(environment: dict[str, str]) -> None:
    run([*BOT, "bob"], environment, "My name is Bob.\n")
    assert "I do not know your name." in run([*BOT, "bob", "--new"], environment, "What is my name?\n")


def test_the_back_end_continues_a_conversation_after_a_restart(environment: dict[str, str], tmp_path: Path) -> None:
    user = {"X-User-Id": "carol"}
    with back_end(environment, tmp_path) as url:
        created = httpx2.post(f"{url}/chats", headers=user)
        assert created.status_code == 201, created.text
        chat = created.json()["id"]
        said = httpx2.post(f"{url}/chats/{chat}/messages", headers=user, json={"text": "My name is Carol."})
        assert said.json() == {"reply": "Nice to meet you, Carol."}
    with back_end(environment, tmp_path) as url:
        said = httpx2.post(f"{url}/chats/{chat}/messages", headers=user, json={"text": "What is my name?"})
        assert said.json() == {"reply": "Your name is Carol."}
        listed = httpx2.get(f"{url}/chats", headers=user).json()
        assert listed == [{"id": chat, "title": "My name is Carol.", "messages": 4}]
        messages = httpx2.get(f"{url}/chats/{chat}", headers=user).json()
        assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]


def test_the_back_end_hides_the_conversations_of_other_users(environment: dict[str, str], tmp_path: Path) -> None:
    with back_end(environment, tmp_path) as url:
        chat = httpx2.post(f"{url}/chats", headers={"X-User-Id": "dave"}).json()["id"]
        mallory = {"X-User-Id": "mallory"}
        assert httpx2.get(f"{url}/chats/{chat}", headers=mallory).status_code == 404
        assert httpx2.get(f"{url}/chats/no-such-chat", headers=mallory).status_code == 404
        sent = httpx2.post(f"{url}/chats/{chat}/messages", headers=mallory, json={"text": "Hello"})
        assert sent.status_code == 404
        assert httpx2.get(f"{url}/chats", headers=mallory).json() == []


def test_an_export_of_chatgpt_is_imported_once(environment: dict[str, str], tmp_path: Path) -> None:
    # A copy, because an import keeps its progress in a file beside the one that it reads.
    script = str(shutil.copytree(EXAMPLES / "import_chatgpt", tmp_path / "import_chatgpt") / "import.sh")
    printed = run([script, "erin"], environment)
    assert "Sourdough for beginners" in printed
    assert "Packing list for Lisbon" in printed
    assert "And if it smells like vinegar?" in printed or "Layers, comfortable shoes" in printed
    run([script, "erin"], environment)
    listed = run(["sessionary", "list-sessions", "--user-id", "erin", "--json"], environment)
    sessions = [json.loads(line) for line in listed.splitlines()]
    assert sorted(session["total_messages"] for session in sessions) == [2, 4]


@pytest.mark.parametrize(
    "program", [file for file in tracked_files(ROOT) if file.is_relative_to(EXAMPLES) and file.suffix in {".py", ".sh"}]
)
def test_every_example_says_how_to_run_it(program: Path) -> None:
    assert "un it with:" in program.read_text(encoding="utf-8")[:400]
    assert str(program.relative_to(EXAMPLES)) in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@contextmanager
def back_end(environment: dict[str, str], directory: Path) -> Iterator[str]:
    """Run the FastAPI example until the block ends; yields its URL."""
    port = free_port()
    log = directory / "uvicorn.log"
    words = ["uvicorn", "--app-dir", str(EXAMPLES / "fastapi_backend"), "--port", str(port), "app:app"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            env=environment,
            stdout=output,
            stderr=output,
            preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509 - calls prctl and nothing else
        )
    try:
        url = f"http://127.0.0.1:{port}"
        poll(lambda: process.poll() is not None or _serves(url), "the back end", seconds=30)
        assert process.poll() is None, tail(log)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _serves(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/openapi.json").is_success
    except httpx2.TransportError:
        return False
