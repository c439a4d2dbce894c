"""`sessionary chat`: what is typed is kept, whoever replies, in a pipe and in a real terminal."""

import json
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from sessionary import Client
from tests.cli.conftest import Run
from tests.cli.serving import Place, serving
from tests.client.faults import FaultProxy, dropped_after, dropped_before, passed
from tests.harness.waiting import poll


class FakeModel:
    """An OpenAI-compatible endpoint, which says in capitals what it was told; use it with `with`."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answers: list[tuple[int, bytes]] = []
        handler = type("Handler", (_Handler,), {"model": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """What `--endpoint` takes."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, bytes]:
        """Answer as planned, or else with a reply."""
        assert path == "/v1/chat/completions"
        self.asked.append(asked)
        if self.answers:
            return self.answers.pop(0)
        text = str(asked["messages"][-1]["content"]).upper()
        message = {"role": "assistant", "content": text}
        return 200, json.dumps({"choices": [{"message": message}], "usage": {"total_tokens": 7}}).encode()


class _Handler(BaseHTTPRequestHandler):
    model: FakeModel

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.model.keys.append(self.headers["Authorization"])
        status, body = self.model.answer(self.path, asked)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with serving(tmp_path_factory.mktemp("chat")) as place:
        yield place


@pytest.fixture
def place(everywhere: Place, request: pytest.FixtureRequest) -> Place:
    return everywhere.of(request.node.name[:128])


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with Client(place.server.base_url, token=place.token, organisation=place.organisation) as client:
        yield client


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with FakeModel() as model:
        yield model


def said(client: Client, session_id: str | None = None) -> list[tuple[str, str]]:
    """Who said what in a session, or in the only one."""
    session = client.get_session(session_id or client.list_sessions()[0].id)
    return [(message["role"], message["content"]) for message in session.messages]


def test_an_echo_fills_a_session(place: Place, client: Client) -> None:
    completed = place.run("chat", "--echo", "--user-id", "ada", "--system", "Be kind.", stdin="Hello\n\nÄÖÜ".encode())
    assert completed.returncode == 0, completed.stderr
    assert said(client) == [
        ("system", "Be kind."),
        ("user", "Hello"),
        ("assistant", "Hello"),
        ("user", "ÄÖÜ"),
        ("assistant", "ÄÖÜ"),
    ]
    (session,) = client.list_sessions()
    assert session.user_id == "ada"
    assert f"sessionary chat --session {session.id} --echo" in completed.stderr.decode()


def test_an_endpoint_replies_to_the_whole_conversation(place: Place, client: Client, model: FakeModel) -> None:
    words = ["chat", "--endpoint", model.url, "--model", "small", "--session-group", "terminal"]
    completed = place.run(*words, stdin=b"Hello\nAgain\n", OPENAI_API_KEY="k-1")
    assert completed.returncode == 0, completed.stderr
    assert "  HELLO\n" in completed.stdout.decode()
    assert [asked["model"] for asked in model.asked] == ["small", "small"]
    assert model.asked[1]["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "HELLO"},
        {"role": "user", "content": "Again"},
    ]
    assert model.keys == ["Bearer k-1"] * 2
    (session,) = client.list_sessions()
    assert (session.model, session.session_group, session.total_tokens) == ("small", "terminal", 14)


def test_a_session_is_resumed_and_its_open_question_answered(place: Place, client: Client, model: FakeModel) -> None:
    messages = [{"role": "user", "content": "Before", "name": "ada", "mood": "good"}]
    session_id = client.create_session("ada", initial_messages=messages).session_id
    words = ["chat", "--session", session_id, "--endpoint", f"{model.url}/chat/completions", "--model", "m"]

    completed = place.run(*words, "--key-variable", "NONE", stdin=b"")

    assert said(client, session_id) == [("user", "Before"), ("assistant", "BEFORE")]
    assert model.asked[0]["messages"] == [{"role": "user", "content": "Before", "name": "ada"}]
    assert model.keys == [None]
    assert "user (ada)" in completed.stdout.decode()


FAILURES = [
    (429, b'{"error": {"message": "too\\nmuch"}}', "the endpoint answered HTTP 429: too much"),
    (502, b"<html>\x1b[2J", "the endpoint answered HTTP 502: <html>\\x1b[2J"),
    (200, b"<html>", "the endpoint's answer is no chat completion"),
    (200, b'{"choices": []}', "the endpoint's answer is no chat completion"),
    (200, b'{"choices": [{"message": {"content": null}}]}', "the endpoint's answer is no chat completion"),
]


def test_an_endpoint_that_fails_is_told_and_asked_again(place: Place, client: Client, model: FakeModel) -> None:
    model.answers = [(status, body) for status, body, _ in FAILURES]
    completed = place.run("chat", "--endpoint", model.url, "--model", "m", stdin=b"Hello\n\n\n\n\n\n\n")
    assert completed.returncode == 0, completed.stderr
    told = [line for line in completed.stderr.decode().splitlines() if line.startswith("No reply: ")]
    assert told == [f"No reply: {reason}. Press Enter to ask again." for _, _, reason in FAILURES]
    assert said(client) == [("user", "Hello"), ("assistant", "HELLO")]


def test_an_endpoint_that_is_not_there_costs_nothing_that_was_typed(place: Place, client: Client) -> None:
    completed = place.run("chat", "--endpoint", "http://127.0.0.1:1/v1", "--model", "m", stdin=b"Hello\n")
    assert completed.returncode == 0
    assert b"No reply: the endpoint could not be asked" in completed.stderr
    assert said(client) == [("user", "Hello")]


def test_what_could_not_be_stored_is_stored_later_and_once(place: Place, client: Client) -> None:
    session_id = client.create_session("ada").session_id
    with FaultProxy(place.server.port) as proxy:
        # Reading the session passes; then the first store is dropped before the server, its repetition after it.
        proxy.plan = [passed, dropped_before, dropped_after, dropped_after, dropped_after]
        words = ["chat", "--session", session_id, "--echo"]
        completed = place.run(*words, stdin=b"One\nTwo\n\n", SESSIONARY_URL=proxy.base_url)
    assert completed.returncode == 0, completed.stderr
    assert [text for role, text in said(client, session_id) if role == "user"] == ["One", "Two"]


def test_what_was_never_stored_is_printed_at_the_end(place: Place, client: Client) -> None:
    session_id = client.create_session("ada").session_id
    with FaultProxy(place.server.port) as proxy:
        proxy.plan = [passed, *[dropped_before] * 20]
        completed = place.run(
            "chat", "--session", session_id, "--echo", stdin=b"Precious\n", SESSIONARY_URL=proxy.base_url
        )
    assert completed.returncode == 1
    assert b"Not stored yet: " in completed.stderr
    assert completed.stdout.decode().rstrip().endswith("user\n  Precious")


def test_a_message_that_the_server_refuses_does_not_hold_up_the_next(place: Place, client: Client) -> None:
    completed = place.run("chat", "--echo", stdin=b"x" * 1_100_000 + b"\nShort\n")
    assert completed.returncode == 0, completed.stderr
    assert b"The server refused the message: " in completed.stderr
    assert said(client) == [("user", "Short"), ("assistant", "Short")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Give either --endpoint URL or --echo."),
        (["--echo", "--endpoint", "http://x"], "Give either --endpoint URL or --echo."),
        (["--endpoint", "http://x"], "--endpoint needs --model NAME."),
    ],
)
def test_someone_must_reply(run: Run, words: list[str], told: str) -> None:
    completed = run("chat", "--url", "http://127.0.0.1:1", "--organisation", "x", *words)
    assert completed.returncode == 2
    assert told in completed.stderr


class Terminal:
    """A command in a terminal of its own; use it with `with`."""

    def __init__(self, command: str, directory: Path) -> None:
        self._socket = f"sessionary-{secrets.token_hex(6)}"
        self._command = command
        self._directory = directory

    def __enter__(self) -> Self:
        size = ["-x", "100", "-y", "40"]
        # The shell outlives the command, so that its last words and its exit code can be read.
        script = f"{self._command}; echo exit code $?; sleep 60"
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(self._directory), script)
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys."""
        if text:
            self._tmux("send-keys", "-l", text)
        if keys:
            self._tmux("send-keys", *keys)

    def wait_for(self, text: str, times: int = 1) -> str:
        """Return the screen once it shows a text so many times."""
        return poll(
            lambda: screen if (screen := self.screen()).count(text) >= times else None,
            f"{text!r} on the screen",
            seconds=30,
        )

    def screen(self) -> str:
        """What the terminal shows."""
        return self._tmux("capture-pane", "-p")

    def _tmux(self, *words: str) -> str:
        return subprocess.run(["tmux", "-L", self._socket, *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_conversation_in_a_real_terminal(place: Place, client: Client, tmp_path: Path) -> None:
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in place.environment.items())
    chat = f"env {variables} {sys.executable} -m sessionary chat --echo"
    with Terminal(f"{chat} --user-id ada", tmp_path) as terminal:
        terminal.wait_for("you>")
        terminal.type("Hello, wurld", "BSpace", "BSpace", "BSpace", "BSpace")
        terminal.type("orld", "Enter")
        terminal.wait_for("assistant\n  Hello, world")
        # Keys that come before a prompt are not the line's to edit.
        terminal.wait_for("you>", 2)
        # The line before can be brought back and changed.
        terminal.type("", "Up")
        terminal.type("!", "Enter")
        terminal.wait_for("you>", 3)
        terminal.type("", "C-d")
        screen = terminal.wait_for("exit code 0")
    assert screen.count("you>") == 3
    (session,) = client.list_sessions()
    assert f"Go on with: sessionary chat --session {session.id} --echo" in " ".join(screen.split())
    texts = ["Hello, world", "Hello, world", "Hello, world!", "Hello, world!"]
    assert [text for _, text in said(client)] == texts

    with Terminal(f"{chat} --session {session.id}", tmp_path) as terminal:
        assert terminal.wait_for("you>").count("Hello, world!") == 2
        terminal.type("", "C-c")
        terminal.wait_for("exit code 0")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_table_fits_the_terminal_and_a_bar_shows_how_far_an_import_is(place: Place, tmp_path: Path) -> None:
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in place.environment.items())
    sessionary = f"{sys.executable} -m sessionary"
    line = json.dumps({"user": "ada " * 50, "messages": [{"role": "user", "content": "question " * 20}]})
    (tmp_path / "data.jsonl").write_text(f"{line}\n" * 20)
    script = f"export {variables}; {sessionary} import data.jsonl && {sessionary} list-sessions && {sessionary} export -o out"
    with Terminal(script, tmp_path) as terminal:
        screen = terminal.wait_for("exit code 0")
    assert "data.jsonl  [####################################]  100%" in screen
    assert "out: 20 sessions" in screen
    rows = [row for row in screen.splitlines() if " active " in row]
    assert len(rows) == 20
    assert all(len(row) <= 100 and row.endswith("…") for row in rows)
