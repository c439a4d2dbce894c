"""Sessions for the eye: tables and transcripts. Nothing here is meant for programs, which ask for ``--json``."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click
import msgspec
from msgspec import Struct

from sessionary.cli.tables import Column, cut, print_table
from sessionary.client.results import ListedSession, Result, Session, format_datetime
from sessionary.models import JsonObject

_CELL_WIDTH_MAX: Final = 40
_UNITS: Final = (("y", 365 * 86_400), ("d", 86_400), ("h", 3_600), ("m", 60))
_COLOURS: Final = {"user": "cyan", "assistant": "green", "system": "yellow", "developer": "yellow", "tool": "magenta"}


def print_json(value: Result | Struct | Mapping[str, Any]) -> None:
    """Print one object on a line of its own, as on the wire."""
    click.echo(value.to_json() if isinstance(value, Result) else msgspec.json.encode(value).decode())


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, without those that are empty."""
    told = [(name, plain(_text(value), keep_lines=False)) for name, value in facts if value not in (None, "", {})]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        click.echo(f"{click.style(f'{name:<{width}}', dim=True)}  {value}")


def print_sessions(sessions: Sequence[ListedSession], now: float) -> None:
    """Print one session a line: on a narrow terminal what it is about and whose it is, on a wide one everything.

    ``now`` is in seconds since 1970; ages count from it.
    """
    titles, users, groups, models = (
        [_cell(value) for value in values]
        for values in zip(*((s.title, s.user_id, s.session_group, s.model) for s in sessions), strict=True)
    )
    about = (Column("TITLE", titles, 16), Column("USER", users, 8), Column("GROUP", groups, 5))
    model = Column("MODEL", models, 8)
    status = Column("STATUS", [_cell(session.status) for session in sessions])
    messages = Column("MESSAGES", [str(session.total_messages) for session in sessions])
    tokens = Column("TOKENS", [str(session.total_tokens) for session in sessions])
    created = Column("CREATED (UTC)", [minute_of(session.created_at) for session in sessions])
    age = Column("AGE", [_age(session.created_at, now) for session in sessions])
    ids = Column("ID", [_cell(session.id) for session in sessions])
    print_table(
        (*about, model, status, messages, tokens, created, ids),
        (*about, status, messages, created, ids),
        (*about, status, age, ids),
        (*about, age, ids),
    )


def minute_of(time: datetime | None) -> str:
    """Shorten a timestamp to the minute, ``2026-11-22 22:09``; its time zone is UTC and belongs to the heading."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M}"


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
    _print_speaker(message)
    for line in plain(text_of(message)).splitlines():
        click.echo(f"  {line}".rstrip())


class MessagePrinter:
    """Prints a message that comes piece by piece."""

    def __init__(self, role: str) -> None:
        """Print nothing before the first piece."""
        self._role: Final = role
        self._begun = False

    def show(self, piece: str) -> None:
        """Print the next piece."""
        if not self._begun:
            self._begun = True
            _print_speaker({"role": self._role})
            click.echo("  ", nl=False)
        click.echo(plain(piece).replace("\n", "\n  "), nl=False)
        sys.stdout.flush()

    def end(self) -> None:
        """End the last line, if there is one."""
        if self._begun:
            click.echo()


def _print_speaker(message: JsonObject) -> None:
    role = str(message.get("role", "?"))
    name = message.get("name")
    speaker = f"{role} ({name})" if isinstance(name, str) else role
    heading = click.style(plain(speaker, keep_lines=False), fg=_COLOURS.get(role), bold=True)
    sent_at = message.get("created_at")
    click.echo(f"{heading}  {click.style(plain(sent_at), dim=True)}" if isinstance(sent_at, str) else heading)


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


def _text(value: object) -> str:
    return format_datetime(value) if isinstance(value, datetime) else str(value)


def _cell(value: object) -> str:
    return cut(plain(str("" if value is None else value), keep_lines=False), _CELL_WIDTH_MAX)


def _age(time: datetime | None, now: float) -> str:
    if time is None:
        return "?"
    seconds = max(0, int(now - time.timestamp()))
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
