"""Records the README's terminal session and renders it as an SVG picture.

    .venv/bin/python scripts/render_terminal.py docs/terminal.svg

Starts a real server on a free port in a temporary directory, types commands into bash on a pseudo-terminal, and draws
what the screen shows at the end. The model is examples/fake_model.py. Run it again when the commands' output changes.
"""
# ruff: noqa: INP001, S603, T201 - a program, which starts others and prints

import contextlib
import os
import pty
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path(__file__).resolve().parents[1]
COLUMNS: Final = 112
SECONDS: Final = 60
"""How long a command may take before the recording fails."""
PROMPT: Final = "$ "
CHAT: Final = "sessionary chat --user-id ada --endpoint $MODEL --model demo"
COLOURS: Final = {"1": "bold", "2": "faint", "31": "red", "32": "green", "33": "yellow", "34": "blue", "36": "cyan"}
ARGUMENTS: Final = 2
SVG: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"
 xml:space="preserve" aria-label="A chat in a terminal is continued after the server was killed and started again">
<style>
rect {{ fill: #1b1f27; stroke: #4a5160; }}
text {{ fill: #d8dee9; font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
text {{ white-space: pre; }}
.bold {{ font-weight: bold; fill: #ffffff; }} .faint {{ fill: #8f99ab; }} .red {{ fill: #e06c75; }}
.green {{ fill: #98c379; }} .yellow {{ fill: #e5c07b; }} .blue {{ fill: #61afef; }} .cyan {{ fill: #56b6c2; }}
</style>
<rect x="0.5" y="0.5" width="99.8%" height="99.5%" rx="8"/>
{rows}
</svg>
"""
CONTROL: Final = re.compile(r"\x1b\[([?>]?[\d;]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>]")


class Screen:
    """The part of a terminal that line-oriented programs use: text, colours, and moving within a line."""

    def __init__(self) -> None:
        """Start with an empty screen, which grows downwards."""
        self.lines: list[list[tuple[str, str]]] = [[]]
        self._column = 0
        self._style = ""

    def write(self, text: str) -> None:
        """Show output."""
        position = 0
        while position < len(text):
            if control := CONTROL.match(text, position):
                self._control(control[1] or "", control[2] or "")
                position = control.end()
            else:
                self._character(text[position])
                position += 1

    def text(self) -> str:
        """Return what is shown, without colours."""
        return "\n".join("".join(cell for cell, _ in line) for line in self.lines)

    def _character(self, character: str) -> None:
        if character == "\n":
            self.lines.append([])
            self._column = 0
        elif character == "\r":
            self._column = 0
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character >= " ":
            if self._column >= COLUMNS:
                self._character("\n")
            line = self.lines[-1]
            line.extend([(" ", "")] * (self._column + 1 - len(line)))
            line[self._column] = (character, self._style)
            self._column += 1

    def _control(self, parameters: str, command: str) -> None:
        if command == "m":
            styles = [COLOURS.get(code, "") for code in parameters.split(";")]
            self._style = " ".join(style for style in styles if style)
        elif command == "K":
            del self.lines[-1][0 if parameters == "2" else self._column :]
        elif command in {"C", "D"}:
            distance = int(parameters or 1)
            self._column = max(0, self._column + (distance if command == "C" else -distance))


class Shell:
    """An interactive bash on a pseudo-terminal; use it with `with`."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        """Start bash without any configuration of its user."""
        self.screen: Final = Screen()
        self._terminal, inside = pty.openpty()
        inputrc = directory / "inputrc"
        inputrc.write_text("set enable-bracketed-paste off\n")
        fixed = {"PS1": PROMPT, "TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": "40", "INPUTRC": str(inputrc)}
        self._process: Final = subprocess.Popen(
            ["/bin/bash", "--norc", "--noprofile", "-i"],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            cwd=directory,
            env={**environment, **fixed},
            start_new_session=True,
        )
        os.close(inside)
        self.wait_for_prompt()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End bash and what it started: closing the terminal hangs up on its whole session."""
        os.close(self._terminal)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def type(self, text: str) -> None:
        """Type a line, without waiting for what it does."""
        os.write(self._terminal, text.encode() + b"\r")

    def press_ctrl_d(self) -> None:
        """Press Ctrl-D: the end of the input."""
        os.write(self._terminal, b"\x04")

    def run(self, command: str) -> None:
        """Type a command and wait until the prompt is back."""
        self.type(command)
        self.wait_for_text(command)
        self.wait_for_prompt()

    def wait_for_prompt(self) -> None:
        """Read until the last line is an empty prompt."""
        self._read_until(lambda: f"\n{self.screen.text()}".endswith(f"\n{PROMPT}"))

    def wait_for_text(self, text: str) -> None:
        """Read until the screen shows a text."""
        self._read_until(lambda: text in self.screen.text())

    def wait_for_end(self, text: str) -> None:
        """Read until the screen ends with a text."""
        self._read_until(lambda: self.screen.text().endswith(text))

    def _read_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        os.set_blocking(self._terminal, False)
        while not reached():
            if time.monotonic() > deadline:
                raise TimeoutError(self.screen.text())
            try:
                self.screen.write(os.read(self._terminal, 65_536).decode(errors="replace"))
            except BlockingIOError:
                time.sleep(0.02)


def record() -> Screen:
    """Run the session in a temporary directory and return the screen at its end."""
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, fake_model() as model:
        directory = Path(name)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": name,
            "LANG": "C.UTF-8",
            "MODEL": model,
            "SESSIONARY_PORT": str(port),
            "SESSIONARY_URL": f"http://127.0.0.1:{port}",
            "SESSIONARY_ORGANISATION": "demo",
        }
        create = ["sessionary", "tokens", "create", "--organisation", "demo", "--name", "picture"]
        sessionary = str(Path(sys.executable).parent / create[0])
        token = subprocess.run(
            [sessionary, *create[1:]], cwd=directory, env=environment, check=True, capture_output=True, text=True
        )
        with Shell(directory, {**environment, "SESSIONARY_TOKEN": token.stdout.strip()}) as shell:
            try:
                play(shell, port)
                shell.screen.lines.pop()
                return shell.screen
            finally:
                shell.type("kill %1")
                time.sleep(1)


def play(shell: Shell, port: int) -> None:
    """Type what the picture shows: a conversation, a crash of the server, and the conversation continued."""
    shell.run("sessionary serve &> server.log &")
    wait_until_ready(port)
    shell.type(CHAT)
    say(shell, "My name is Ada.", "Nice to meet you, Ada.")
    shell.press_ctrl_d()
    shell.wait_for_prompt()
    session_id = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", shell.screen.text())[-1]
    shell.run("kill -9 %1; sleep 0.5")
    shell.run("sessionary serve &> server.log &")
    wait_until_ready(port)
    shell.type(f"sessionary chat --session {session_id} --endpoint $MODEL --model demo")
    say(shell, "What is my name?", "Your name is Ada.")
    shell.press_ctrl_d()
    shell.wait_for_prompt()
    shell.run("sessionary list-sessions")


def say(shell: Shell, text: str, reply: str) -> None:
    """Say something in a chat, once it waits for that, and wait for the reply and the next prompt."""
    shell.wait_for_end("> ")
    shell.type(text)
    shell.wait_for_text(reply)
    shell.wait_for_end("> ")


@contextlib.contextmanager
def fake_model() -> Iterator[str]:
    """Run the examples' stand-in for a model; yields its base URL."""
    program = [sys.executable, str(ROOT / "examples" / "fake_model.py"), "0"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("no output of the model")
            yield process.stdout.readline().strip().partition("=")[2]
        finally:
            process.terminate()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


def wait_until_ready(port: int) -> None:
    """Return when the server accepts requests."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2).close()
            return
        time.sleep(0.1)
    raise TimeoutError("the server is not ready")


def svg(screen: Screen) -> str:
    """Draw a screen as a dark terminal, which is readable on a light and on a dark page."""
    width, height = int(COLUMNS * 7.25) + 32, len(screen.lines) * 17 + 28
    rows = "\n".join(
        f'<text x="16" y="{number * 17 + 29}"{" class=" + chr(34) + "bold" + chr(34) if is_command(line) else ""}>'
        f"{spans(line)}</text>"
        for number, line in enumerate(screen.lines)
    )
    return SVG.format(width=width, height=height, rows=rows)


def is_command(line: list[tuple[str, str]]) -> bool:
    """Return whether a line was typed at bash's prompt."""
    return "".join(cell for cell, _ in line).startswith(PROMPT)


def spans(line: list[tuple[str, str]]) -> str:
    """Draw a line: one element for each run of characters of one style."""
    runs = [
        (style, escape("".join(cell for cell, _ in cells))) for style, cells in groupby(line, key=lambda cell: cell[1])
    ]
    return "".join(f'<tspan class="{style}">{text}</tspan>' if style else text for style, text in runs)


if __name__ == "__main__":
    if len(sys.argv) != ARGUMENTS:
        sys.exit(__doc__)
    recorded = record()
    Path(sys.argv[1]).write_text(svg(recorded), encoding="utf-8")
    print(recorded.text())
