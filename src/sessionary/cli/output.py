"""Output of sessions for people: tables and transcripts. Programs use ``--json``."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click
import msgspec
from msgspec import Struct

from sessionary.cli.tables import Column, print_table, shorten
from sessionary.client.results import ListedSession, Result, Session, format_datetime
from sessionary.models import JsonObject

_CELL_WIDTH_MAX: Final = 40
_UNITS: Final = (("y", 365 * 86_400), ("d", 86_400), ("h", 3_600), ("m", 60))
_COLOURS: Final = {"user": "cyan", "assistant": "green", "system": "yellow", "developer": "yellow", "tool": "magenta"}


def print_json(value: Result | Struct | Mapping[str, Any]) -> None:
    """Print one JSON object on one line, as the API returns it."""
    click.echo(value.to_json() if isinstance(value, Result) else msgspec.json.encode(value).decode())


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line, without empty values."""
    shown = [
        (name, escape_controls(_format(value), multiline=False))
        for name, value in fields
        if value not in (None, "", {})
    ]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{click.style(f'{name:<{width}}', dim=True)}  {value}")


def print_session_table(sessions: Sequence[ListedSession], now: float) -> None:
    """Print a table with one session a line; a narrow terminal shows fewer columns.

    ``now`` is a Unix time in seconds, from which ages are computed.
    """
    titles, users, groups, models = (
        [_cell(value) for value in values]
        for values in zip(*((s.title, s.user_id, s.session_group, s.model) for s in sessions), strict=True)
    )
    basics = (Column("TITLE", titles, 16), Column("USER", users, 8), Column("GROUP", groups, 5))
    model = Column("MODEL", models, 8)
    status = Column("STATUS", [_cell(session.status) for session in sessions])
    messages = Column("MESSAGES", [str(session.total_messages) for session in sessions])
    tokens = Column("TOKENS", [str(session.total_tokens) for session in sessions])
    created = Column("CREATED (UTC)", [format_minute(session.created_at) for session in sessions])
    age = Column("AGE", [_age(session.created_at, now) for session in sessions])
    ids = Column("ID", [_cell(session.id) for session in sessions])
    print_table(
        (*basics, model, status, messages, tokens, created, ids),
        (*basics, status, messages, created, ids),
        (*basics, status, age, ids),
        (*basics, age, ids),
    )


def format_minute(time: datetime | None) -> str:
    """Format a UTC time to the minute: ``2026-11-22 22:09``. The column's heading names the time zone."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M}"


def _format(value: object) -> str:
    return format_datetime(value) if isinstance(value, datetime) else str(value)


def print_transcript(session: Session) -> None:
    """Print a session's fields, then its messages."""
    if session.title:
        click.secho(escape_controls(session.title, multiline=False), bold=True)
    print_fields(
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
    """Print a message: its role, then its text indented."""
    _print_heading(message)
    for line in escape_controls(message_text(message)).splitlines():
        click.echo(f"  {line}".rstrip())


class MessagePrinter:
    """Prints a message that is streamed in chunks."""

    def __init__(self, role: str) -> None:
        """Prepare to print; nothing is printed before the first chunk."""
        self._role: Final = role
        self._started = False

    def print_chunk(self, chunk: str) -> None:
        """Print the next chunk."""
        if not self._started:
            self._started = True
            _print_heading({"role": self._role})
            click.echo("  ", nl=False)
        click.echo(escape_controls(chunk).replace("\n", "\n  "), nl=False)
        sys.stdout.flush()

    def finish(self) -> None:
        """Finish the line if anything was printed."""
        if self._started:
            click.echo()


def _print_heading(message: JsonObject) -> None:
    role = str(message.get("role", "?"))
    name = message.get("name")
    speaker = f"{role} ({name})" if isinstance(name, str) else role
    heading = click.style(escape_controls(speaker, multiline=False), fg=_COLOURS.get(role), bold=True)
    sent_at = message.get("created_at")
    click.echo(f"{heading}  {click.style(escape_controls(sent_at), dim=True)}" if isinstance(sent_at, str) else heading)


def message_text(message: JsonObject) -> str:
    """Return a message's content, parts and tool calls as readable text."""
    content, calls = message.get("content"), message.get("tool_calls")
    parts = [content] if isinstance(content, str) else map(_part_text, content if isinstance(content, list) else [])
    called = map(_tool_call_text, calls if isinstance(calls, list) else [])
    return "\n".join(part for part in [*parts, *called] if part)


def escape_controls(text: str, *, multiline: bool = True) -> str:
    """Escape control characters, so that a stored text cannot control the reader's terminal."""
    if text.isprintable():
        return text
    allowed = "\n\t" if multiline else ""
    return "".join(
        character if character.isprintable() or character in allowed else _escaped(character) for character in text
    )


def _escaped(character: str) -> str:
    # Python counts the white space of other scripts as unprintable.
    return character if character.isspace() and ord(character) > 0x9F else character.encode("unicode_escape").decode()  # noqa: PLR2004 - the last control


def _part_text(part: Any) -> str:
    if not isinstance(part, dict):
        return str(part)
    text = part.get("text")
    return text if isinstance(text, str) else f"[{part.get('type', 'part')}]"


def _tool_call_text(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return "[tool call]"
    return f"[tool call: {function.get('name')}({function.get('arguments', '')})]"


def _cell(value: object) -> str:
    return shorten(escape_controls(str("" if value is None else value), multiline=False), _CELL_WIDTH_MAX)


def _age(time: datetime | None, now: float) -> str:
    if time is None:
        return "?"
    seconds = max(0, int(now - time.timestamp()))
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
