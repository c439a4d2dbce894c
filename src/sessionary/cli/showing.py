"""Sessions for the eye: tables and transcripts. Nothing here is meant for programs, which ask for ``--json``."""

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
import msgspec
from msgspec import Struct

from sessionary.model import JsonObject, ListedSession, Session

_TITLE_WIDTH: Final = 40
_COLOURS: Final = {"user": "cyan", "assistant": "green", "system": "yellow", "developer": "yellow", "tool": "magenta"}
_COLUMNS: Final = ("ID", "CREATED", "STATUS", "MESSAGES", "TOKENS", "TITLE", "USER", "GROUP", "MODEL")


def print_json(value: Struct | Mapping[str, Any]) -> None:
    """Print one object on a line of its own, spelled as on the wire."""
    click.echo(msgspec.json.encode(value).decode())


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, without those that are empty."""
    told = [(name, plain(str(value), keep_lines=False)) for name, value in facts if value not in (None, "", {})]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        click.echo(f"{click.style(f'{name:<{width}}', dim=True)}  {value}")


def print_table(sessions: Sequence[ListedSession]) -> None:
    """Print one session a line, cut to the terminal's width if there is a terminal."""
    rows = [_COLUMNS, *map(_row, sessions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for number, row in enumerate(rows):
        line = "  ".join(f"{cell:<{size}}" for cell, size in zip(row, widths, strict=True)).rstrip()
        click.secho(_cut(line, width) if width else line, bold=number == 0)


def print_transcript(session: Session) -> None:
    """Print what a session is, then what was said."""
    if session.title:
        click.secho(plain(session.title, keep_lines=False), bold=True)
    print_facts(
        [
            ("id", session.id),
            ("status", session.status),
            ("user", session.user_id),
            ("group", session.session_group),
            ("model", session.model),
            ("messages", session.total_messages),
            ("tokens", session.total_tokens),
            ("created", session.created_at),
            ("updated", session.updated_at),
            ("expires", session.expires_at),
            ("metadata", msgspec.json.encode(session.metadata).decode() if session.metadata else ""),
        ]
    )
    for message in session.messages:
        click.echo()
        print_message(message)


def print_message(message: JsonObject) -> None:
    """Print who speaks, and under it what."""
    role = str(message.get("role", "?"))
    name = message.get("name")
    speaker = f"{role} ({name})" if isinstance(name, str) else role
    heading = click.style(plain(speaker, keep_lines=False), fg=_COLOURS.get(role), bold=True)
    sent_at = message.get("created_at")
    click.echo(f"{heading}  {click.style(sent_at, dim=True)}" if isinstance(sent_at, str) else heading)
    for line in plain(text_of(message)).splitlines():
        click.echo(f"  {line}".rstrip())


def text_of(message: JsonObject) -> str:
    """Put a message's text, its parts and its tool calls into words."""
    content, calls = message.get("content"), message.get("tool_calls")
    parts = [content] if isinstance(content, str) else map(_part, content if isinstance(content, list) else [])
    called = map(_tool_call, calls if isinstance(calls, list) else [])
    return "\n".join(part for part in [*parts, *called] if part)


def plain(text: str, *, keep_lines: bool = True) -> str:
    """Make control characters visible: a stored text must not steer the reader's terminal."""
    if text.isprintable():
        return text
    kept = "\n\t" if keep_lines else ""
    return "".join(letter if letter.isprintable() or letter in kept else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    # The spaces of other scripts count as unprintable in Python.
    return letter if letter.isspace() and ord(letter) > 0x9F else letter.encode("unicode_escape").decode()  # noqa: PLR2004 - the last control


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return str(part)
    text = part.get("text")
    return text if isinstance(text, str) else f"[{part.get('type', 'part')}]"


def _tool_call(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return "[tool call]"
    return f"[tool call: {function.get('name')}({function.get('arguments', '')})]"


def _row(session: ListedSession) -> tuple[str, ...]:
    cells = (
        session.id,
        session.created_at[:16].replace("T", " "),
        session.status,
        session.total_messages,
        session.total_tokens,
        _cut(session.title or "", _TITLE_WIDTH),
        session.user_id,
        session.session_group or "",
        session.model or "",
    )
    return tuple(plain(str(cell), keep_lines=False) for cell in cells)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
