"""`sessionary chat`: every typed message is stored, with an echo or an endpoint, in a pipe and in a real terminal."""

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
from wcwidth import wcswidth

from sessionary import Client
from tests.cli.conftest import Run
from tests.cli.live_server import Tenant, running_server
from tests.client.faults import FaultProxy, dropped_after, dropped_before, passed
from tests.harness.waiting import poll

PAUSE = b": pause\n\n"
"""A comment of an event stream, at which the response pauses."""


def streamed(*chunks: str, tokens: int | None = None, end: bytes = b"data: [DONE]\n\n") -> tuple[int, bytes]:
    """A response as a stream of server-sent events; an empty chunk is a pause."""
    events = [
        PAUSE if not chunk else b"data: %b\n\n" % json.dumps({"choices": [{"delta": {"content": chunk}}]}).encode()
        for chunk in chunks
    ]
    usage = {"choices": [], "usage": {"total_tokens": tokens}}
    events += [b"data: %b\n\n" % json.dumps(usage).encode()] if tokens is not None else []
    return 200, b"".join([*events, end])


class FakeModel:
    """An OpenAI-compatible endpoint that replies with the last message in capitals; a context manager."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.responses: list[tuple[int, bytes]] = []
        self.hold: threading.Event | None = None
        """If set, a response waits for it before it ends."""
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
        """The value of `--endpoint`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def respond(self, path: str, requests: dict[str, Any]) -> tuple[int, bytes]:
        """Return the next planned response, or else a reply."""
        assert path == "/v1/chat/completions"
        self.requests.append(requests)
        if self.responses:
            return self.responses.pop(0)
        text = str(requests["messages"][-1]["content"]).upper()
        message = {"role": "assistant", "content": text}
        return 200, json.dumps({"choices": [{"message": message}], "usage": {"total_tokens": 7}}).encode()


class _Handler(BaseHTTPRequestHandler):
    model: FakeModel

    def do_POST(self) -> None:
        requests = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.model.keys.append(self.headers["Authorization"])
        status, body = self.model.respond(self.path, requests)
        self.send_response(status)
        if body.startswith(b"data:"):
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        first, mark, rest = body.partition(PAUSE)
        self.wfile.write(first)
        if mark and self.model.hold is not None:
            self.model.hold.wait(60)
        self.wfile.write(rest)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with running_server(tmp_path_factory.mktemp("chat")) as tenant:
        yield tenant


@pytest.fixture
def tenant(server: Tenant, request: pytest.FixtureRequest) -> Tenant:
    return server.of(request.node.name[:128])


@pytest.fixture
def client(tenant: Tenant) -> Iterator[Client]:
    with Client(tenant.server.base_url, token=tenant.token, organisation=tenant.organisation) as client:
        yield client


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with FakeModel() as model:
        yield model


def stored_messages(client: Client, session_id: str | None = None) -> list[tuple[str, str]]:
    """Return role and content of each stored message of a session, by default of the only one."""
    session = client.get_session(session_id or client.list_sessions().data[0].id)
    return [(message["role"], message["content"]) for message in session.messages]


def test_an_echo_fills_a_session(tenant: Tenant, client: Client) -> None:
    completed = tenant.run("chat", "--echo", "--user-id", "ada", "--system", "Be kind.", stdin="Hello\n\nÄÖÜ".encode())
    assert completed.returncode == 0, completed.stderr
    assert stored_messages(client) == [
        ("system", "Be kind."),
        ("user", "Hello"),
        ("assistant", "Hello"),
        ("user", "ÄÖÜ"),
        ("assistant", "ÄÖÜ"),
    ]
    (session,) = client.list_sessions().data
    assert session.user_id == "ada"
    assert f"sessionary chat --session {session.id} --echo" in completed.stderr.decode()


def test_an_endpoint_replies_to_the_whole_conversation(tenant: Tenant, client: Client, model: FakeModel) -> None:
    words = ["chat", "--endpoint", model.url, "--model", "small", "--session-group", "terminal"]
    completed = tenant.run(*words, stdin=b"Hello\nAgain\n", OPENAI_API_KEY="k-1")
    assert completed.returncode == 0, completed.stderr
    assert "  HELLO\n" in completed.stdout.decode()
    assert [requests["model"] for requests in model.requests] == ["small", "small"]
    assert model.requests[1]["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "HELLO"},
        {"role": "user", "content": "Again"},
    ]
    assert model.keys == ["Bearer k-1"] * 2
    (session,) = client.list_sessions().data
    assert (session.model, session.session_group, session.total_tokens) == ("small", "terminal", 14)


def test_a_session_is_resumed_and_its_last_message_answered(tenant: Tenant, client: Client, model: FakeModel) -> None:
    messages = [{"role": "user", "content": "Before", "name": "ada", "mood": "good"}]
    session_id = client.create_session("ada", initial_messages=messages).session_id
    words = ["chat", "--session", session_id, "--endpoint", f"{model.url}/chat/completions", "--model", "m"]

    completed = tenant.run(*words, "--key-variable", "NONE", stdin=b"")

    assert stored_messages(client, session_id) == [("user", "Before"), ("assistant", "BEFORE")]
    assert model.requests[0]["messages"] == [{"role": "user", "content": "Before", "name": "ada"}]
    assert model.keys == [None]
    assert "user (ada)" in completed.stdout.decode()


FAILURES = [
    (429, b'{"error": {"message": "too\\nmuch"}}', "the endpoint returned HTTP 429: too much"),
    (502, b"<html>\x1b[2J", "the endpoint returned HTTP 502: <html>\\x1b[2J"),
    (200, b"<html>", "the endpoint's response is not a chat completion"),
    (200, b'{"choices": []}', "the endpoint's response is not a chat completion"),
    (200, b'{"choices": [{"message": {"content": null}}]}', "the endpoint's response is not a chat completion"),
]


def test_an_endpoint_error_is_shown_and_the_request_repeated(tenant: Tenant, client: Client, model: FakeModel) -> None:
    model.responses = [(status, body) for status, body, _ in FAILURES]
    completed = tenant.run("chat", "--endpoint", model.url, "--model", "m", stdin=b"Hello\n\n\n\n\n\n\n")
    assert completed.returncode == 0, completed.stderr
    reasons = [line for line in completed.stderr.decode().splitlines() if line.startswith("No reply: ")]
    assert reasons == [f"No reply: {reason}. Press Enter to ask again." for _, _, reason in FAILURES]
    assert stored_messages(client) == [("user", "Hello"), ("assistant", "HELLO")]


def test_a_streamed_reply_is_stored_once_and_completely(tenant: Tenant, client: Client, model: FakeModel) -> None:
    model.responses = [streamed("Hel", "lo,\nwor", "ld \x1b[2J", tokens=12)]
    completed = tenant.run("chat", "--endpoint", model.url, "--model", "m", stdin=b"Hi\n")
    assert completed.returncode == 0, completed.stderr
    assert model.requests[0]["stream"] is True
    assert "assistant\n  Hello,\n  world \\x1b[2J\n" in completed.stdout.decode()
    assert stored_messages(client) == [("user", "Hi"), ("assistant", "Hello,\nworld \x1b[2J")]
    assert client.list_sessions().data[0].total_tokens == 12


def test_an_endpoint_without_streaming_gets_a_plain_request(tenant: Tenant, client: Client, model: FakeModel) -> None:
    model.responses = [(400, b'{"error": {"message": "Unknown parameter: stream_options"}}')]
    completed = tenant.run("chat", "--endpoint", model.url, "--model", "m", stdin=b"Hi\nAgain\n")
    assert completed.returncode == 0, completed.stderr
    assert ["stream" in requests for requests in model.requests] == [True, False, False]
    assert stored_messages(client) == [("user", "Hi"), ("assistant", "HI"), ("user", "Again"), ("assistant", "AGAIN")]


BROKEN_STREAMS = [
    (
        streamed("Hal", end=b'data: {"error": {"message": "out of\\nmemory"}}\n\n'),
        "stopped with an error: out of memory",
    ),
    (streamed("Hal", end=b"data: <html>\n\n"), "the endpoint's response is not a chat completion"),
    (streamed("Hal", end=b"data: [1]\n\n"), "the endpoint's response is not a chat completion"),
    (streamed(), "the endpoint's response has no text"),
    (streamed("x" * 600_000, "x" * 600_000), "the endpoint's response is longer than a message may be"),
    ((200, b"data: " + b"x" * 3_000_000), "the endpoint's response is longer than a message may be"),
]


def test_a_broken_stream_is_reported_and_not_stored(tenant: Tenant, client: Client, model: FakeModel) -> None:
    model.responses = [answer for answer, _ in BROKEN_STREAMS]
    completed = tenant.run("chat", "--endpoint", model.url, "--model", "m", stdin=b"Hi\n" + b"\n" * len(BROKEN_STREAMS))
    assert completed.returncode == 0, completed.stderr
    reasons = [line for line in completed.stderr.decode().splitlines() if line.startswith("No reply: ")]
    assert len(reasons) == len(BROKEN_STREAMS)
    assert all(reason in line for line, (_, reason) in zip(reasons, BROKEN_STREAMS, strict=True))
    assert stored_messages(client) == [("user", "Hi"), ("assistant", "HI")]


def test_a_stream_that_ends_early_is_reported_and_not_stored(tenant: Tenant, client: Client, model: FakeModel) -> None:
    model.responses = [streamed("par", "tial", end=b"")]
    completed = tenant.run("chat", "--endpoint", model.url, "--model", "m", stdin=b"Hi\n")
    assert completed.returncode == 1
    assert b"No reply: the endpoint closed the connection before the end" in completed.stderr
    assert stored_messages(client) == [("user", "Hi")]


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data: [DONE]", b""])
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_truncated_reply_is_reported_and_stored(
    tenant: Tenant, client: Client, model: FakeModel, reason: str, end: bytes
) -> None:
    last = b"data: %b\n\n" % json.dumps({"choices": [{"delta": {}, "finish_reason": reason}]}).encode()
    message = {"choices": [{"message": {"content": "two"}, "finish_reason": reason}]}
    model.responses = [streamed("one", end=last + end), (200, json.dumps(message).encode())]
    completed = tenant.run("chat", "--endpoint", model.url, "--model", "m", stdin=b"Hi\nAgain\n")
    assert completed.returncode == 0, completed.stderr
    assert completed.stderr.decode().count("reply was cut off at the endpoint's length limit") == (
        2 if reason == "length" else 0
    )
    assert [text for _, text in stored_messages(client)] == ["Hi", "one", "Again", "two"]


def test_a_reply_with_only_tool_calls_is_reported(tenant: Tenant, client: Client, model: FakeModel) -> None:
    calls = [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    chunk = {"choices": [{"delta": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    message = {"choices": [{"message": {"content": None, "tool_calls": calls}}]}
    model.responses = [streamed(end=b"data: %b\n\n" % json.dumps(chunk).encode()), (200, json.dumps(message).encode())]
    completed = tenant.run("chat", "--endpoint", model.url, "--model", "m", stdin=b"Hi\n\n")
    assert completed.returncode == 1
    assert completed.stderr.count(b"No reply: the endpoint's response only calls tools, and this chat has none.") == 2
    assert stored_messages(client) == [("user", "Hi")]


def test_a_key_is_trimmed_and_an_invalid_one_never_shown(tenant: Tenant, client: Client, model: FakeModel) -> None:
    words = ["chat", "--endpoint", model.url, "--model", "m"]
    assert tenant.run(*words, stdin=b"Hi\n", OPENAI_API_KEY=" sk-1\r\n").returncode == 0
    assert model.keys == ["Bearer sk-1"]
    for key in ("sk-ge\nheim", "sk-geheim x", "sk-geheimä"):
        completed = tenant.run(*words, stdin=b"Hi\n", OPENAI_API_KEY=key)
        assert (completed.returncode, completed.stdout) == (2, b"")
        assert b"key contains characters" in completed.stderr
        assert b"heim" not in completed.stderr
    assert len(client.list_sessions().data) == 1


@pytest.mark.parametrize(
    "url", ["geheim", "ftp://geheim/v1", "http://u:geheim@127.0.0.1:99999/v1", "http://h:geheim/", "http://"]
)
def test_an_invalid_endpoint_is_a_usage_error(tenant: Tenant, client: Client, url: str) -> None:
    completed = tenant.run("chat", "--endpoint", url, "--model", "m", stdin=b"Hi\n")
    assert (completed.returncode, completed.stdout) == (2, b"")
    assert b"The endpoint's URL" in completed.stderr
    assert b"geheim" not in completed.stderr
    assert client.list_sessions().data == []


def test_an_undecodable_line_is_reported_and_sets_the_exit_code(tenant: Tenant, client: Client) -> None:
    completed = tenant.run("chat", "--echo", stdin=b"one\n\xff\xfe\ntwo\n", PYTHONUTF8="1", PYTHONIOENCODING=":strict")
    assert completed.returncode == 1
    assert b"is not valid" in completed.stderr
    assert [text for role, text in stored_messages(client) if role == "user"] == ["one", "two"]


def test_the_command_to_continue_shows_no_password(tenant: Tenant, client: Client, model: FakeModel) -> None:
    url = model.url.replace("//", "//ada:geheim@")
    completed = tenant.run("chat", "--endpoint", url, "--model", "m", stdin=b"Hi\n")
    assert completed.returncode == 0, completed.stderr
    assert b"//***@127.0.0.1" in completed.stderr
    assert b"(replace *** with the login)" in completed.stderr
    assert b"geheim" not in completed.stderr
    assert len(client.list_sessions().data) == 1


def test_a_conversation_without_a_message_leaves_no_session_behind(tenant: Tenant, client: Client) -> None:
    for stdin in (b"", b"\n  \n"):
        completed = tenant.run("chat", "--echo", "--system", "Be kind.", stdin=stdin)
        assert completed.returncode == 0, completed.stderr
        assert b"Continue with" not in completed.stderr
    assert client.list_sessions().data == []


def test_a_new_conversation_ends_at_once_if_the_server_rejects_the_token(tenant: Tenant) -> None:
    completed = tenant.run("chat", "--echo", stdin=b"Hello\n", SESSIONARY_TOKEN="sny_wrong")
    assert completed.returncode == 4
    assert completed.stdout == b""
    assert tenant.run("chat", "--echo", stdin=b"Hello\n", SESSIONARY_URL="http://127.0.0.1:1").returncode == 5


def test_the_command_to_continue_can_be_pasted(tenant: Tenant, client: Client, model: FakeModel) -> None:
    flags = [
        "--endpoint",
        model.url,
        "--model",
        "my model's",
        "--key-variable",
        "MY_KEY",
        "--url",
        tenant.server.base_url,
    ]
    completed = tenant.run("chat", *flags, "--timeout", "20", stdin=b"Hello\n", MY_KEY="k")
    (line,) = [line for line in completed.stderr.decode().splitlines() if line.startswith("Continue with: ")]
    words = shlex.split(line.removeprefix("Continue with: "))
    assert words[0] == "sessionary"

    again = tenant.run(*words[1:], stdin=b"More\n", MY_KEY="k", SESSIONARY_URL="http://127.0.0.1:1")

    assert again.returncode == 0, again.stderr
    assert [text for _, text in stored_messages(client)] == ["Hello", "HELLO", "More", "MORE"]
    assert model.keys == ["Bearer k"] * 2
    assert tenant.token not in line


def test_an_unreachable_endpoint_loses_no_message(tenant: Tenant, client: Client) -> None:
    completed = tenant.run("chat", "--endpoint", "http://127.0.0.1:1/v1", "--model", "m", stdin=b"Hello\n")
    assert completed.returncode == 1
    assert b"No reply: the request to the endpoint at 127.0.0.1:" in completed.stderr
    assert stored_messages(client) == [("user", "Hello")]


def test_messages_that_could_not_be_stored_are_stored_later_and_once(tenant: Tenant, client: Client) -> None:
    session_id = client.create_session("ada").session_id
    with FaultProxy(tenant.server.port) as proxy:
        # Reading the session passes; then the first store is dropped before the server, its repetition after it.
        proxy.plan = [passed, dropped_before, dropped_after, dropped_after, dropped_after]
        words = ["chat", "--session", session_id, "--echo"]
        completed = tenant.run(*words, stdin=b"One\nTwo\n\n", SESSIONARY_URL=proxy.base_url)
    assert completed.returncode == 0, completed.stderr
    assert [text for role, text in stored_messages(client, session_id) if role == "user"] == ["One", "Two"]


def test_messages_that_were_never_stored_are_printed_at_the_end(tenant: Tenant, client: Client) -> None:
    session_id = client.create_session("ada").session_id
    with FaultProxy(tenant.server.port) as proxy:
        proxy.plan = [passed, *[dropped_before] * 20]
        completed = tenant.run(
            "chat", "--session", session_id, "--echo", stdin=b"Precious\n", SESSIONARY_URL=proxy.base_url
        )
    assert completed.returncode == 1
    assert b"Not stored yet: " in completed.stderr
    assert completed.stdout.decode().rstrip().endswith("user\n  Precious")


def test_a_message_that_the_server_rejects_does_not_block_the_next(tenant: Tenant, client: Client) -> None:
    completed = tenant.run("chat", "--echo", stdin=b"x" * 1_100_000 + b"\nShort\n")
    assert completed.returncode == 0, completed.stderr
    assert b"The server rejected the message: " in completed.stderr
    assert stored_messages(client) == [("user", "Short"), ("assistant", "Short")]


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        ([], "Give either --endpoint URL or --echo."),
        (["--echo", "--endpoint", "http://x"], "Give either --endpoint URL or --echo."),
        (["--endpoint", "http://x"], "--endpoint needs --model NAME."),
    ],
)
def test_chat_needs_a_model_or_the_echo(run: Run, words: list[str], reasons: str) -> None:
    completed = run("chat", "--url", "http://127.0.0.1:1", "--organisation", "x", *words)
    assert completed.returncode == 2
    assert reasons in completed.stderr


class Terminal:
    """A command in a terminal of its own; use it with `with`."""

    def __init__(self, command: str, directory: Path, columns: int = 100) -> None:
        self._columns = columns
        self._socket = f"sessionary-{secrets.token_hex(6)}"
        self._command = command
        self._directory = directory

    def __enter__(self) -> Self:
        size = ["-x", str(self._columns), "-y", "40"]
        # The shell outlives the command, so that its last words and its exit code can be read.
        script = f"{self._command}; echo exit code $?; sleep 60"
        self._tmux("-u", "-f", "/dev/null", "new-session", "-d", *size, "-c", str(self._directory), script)
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

    def screen(self, *, colours: bool = False) -> str:
        """What the terminal shows, on demand with the sequences that colour it."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def _tmux(self, *words: str) -> str:
        return subprocess.run(["tmux", "-L", self._socket, *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_conversation_in_a_real_terminal(tenant: Tenant, client: Client, tmp_path: Path) -> None:
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in tenant.environment.items())
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
    assert f"Continue with: sessionary chat --session {session.id} --echo" in " ".join(screen.split())
    texts = ["Hello, world", "Hello, world", "Hello, world!", "Hello, world!"]
    assert [text for _, text in stored_messages(client)] == texts

    with Terminal(f"{chat} --session {session.id}", tmp_path) as terminal:
        assert terminal.wait_for("you>").count("Hello, world!") == 2
        terminal.type("", "C-c")
        terminal.wait_for("exit code 0")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_table_fits_the_terminal_and_an_import_shows_a_progress_bar(
    tenant: Tenant, client: Client, tmp_path: Path
) -> None:
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in tenant.environment.items())
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
    ids = {session.id for session in client.list_sessions().data}
    assert {row.split()[-1] for row in rows} == ids, "an id is never cut"
    assert all(row.startswith("question question ") and " ada ada " in row and len(row) <= 100 for row in rows)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_eighty_columns_show_title_user_group_and_whole_id_in_any_script(
    tenant: Tenant, client: Client, tmp_path: Path
) -> None:
    ids = [
        client.create_session("user-12345", session_group="support", title=title).session_id
        for title in ("How do I reset my password?", "パスワードを忘れました", "Passwort vergessen")
    ]
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in tenant.environment.items())
    script = f"export LC_ALL=C.UTF-8 {variables}; {sys.executable} -m sessionary list-sessions"
    with Terminal(script, tmp_path, columns=80) as terminal:
        heading, *rows = terminal.wait_for("exit code 0").splitlines()[:4]
    assert heading.split() == ["TITLE", "USER", "GROUP", "AGE", "ID"]
    assert [row.split()[-1] for row in rows] == ids[::-1]
    assert all(" user-12345 " in row and " support " in row for row in rows)
    assert [row[:4] for row in rows] == ["Pass", "パスワー", "How "]
    assert {wcswidth(row.partition("user-12345")[0]) for row in rows} == {heading.index("USER")}
    assert {wcswidth(row) for row in rows} == {wcswidth(rows[0])}
    assert wcswidth(rows[0]) <= 80


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_no_color_is_honoured_in_a_terminal(tenant: Tenant, client: Client, tmp_path: Path) -> None:
    client.create_session("ada", title="Colourful")
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in tenant.environment.items())
    # `script` would be another package: tmux keeps the colours of what it shows.
    for more, coloured in (("", True), ("NO_COLOR= ", True), ("NO_COLOR=1 ", False)):
        with Terminal(f"{more}{variables} {sys.executable} -m sessionary list-sessions", tmp_path) as terminal:
            terminal.wait_for("exit code 0")
            assert ("\x1b[1m" in terminal.screen(colours=True)) == coloured


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_terminal_shows_a_waiting_note_until_the_reply_starts(
    tenant: Tenant, model: FakeModel, tmp_path: Path
) -> None:
    model.responses = [streamed("First words", "", " and the rest")]
    model.hold = threading.Event()
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in tenant.environment.items())
    chat = f"env {variables} {sys.executable} -m sessionary chat --endpoint {model.url} --model small"
    with Terminal(chat, tmp_path) as terminal:
        terminal.wait_for("you>")
        terminal.type("Hello", "Enter")
        screen = terminal.wait_for("First words")
        assert "the rest" not in screen
        assert "Waiting" not in screen
        model.hold.set()
        terminal.wait_for("First words and the rest")
        model.responses = [(200, b"data:\n\n" + PAUSE + streamed("Late")[1])]
        model.hold.clear()
        terminal.wait_for("you>", 2)
        terminal.type("Again", "Enter")
        terminal.wait_for("Waiting for small")
        model.hold.set()
        assert "Waiting" not in terminal.wait_for("Late")
