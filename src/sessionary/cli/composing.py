"""Messages and metadata as they are typed, or read from a file."""

from typing import Any, Final, get_args

import click
import msgspec
from click.shell_completion import CompletionItem

from sessionary.models import JsonObject, Role

ROLES: Final = get_args(Role)


class TypedMessage(click.ParamType[Any]):
    """A message on the command line: its role, a colon, its text."""

    name = "role:text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split ``user:Hello`` into a message."""
        if isinstance(value, dict):
            return value
        role, colon, text = str(value).partition(":")
        if not colon or role not in ROLES:
            self.fail(f"{value!r} must be one of {', '.join(ROLES)}, a colon and the text.", param, ctx)
        return {"role": role, "content": text}

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the roles."""
        del ctx, param
        return [CompletionItem(f"{role}:") for role in ROLES if role.startswith(incomplete)]


class JsonObjectText(click.ParamType[Any]):
    """A JSON object on the command line."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the object."""
        try:
            return msgspec.json.decode(value, type=JsonObject)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            self.fail(f"{_reason(error)}: give a JSON object.", param, ctx)


class MessagesFile(click.ParamType[Any]):
    """A file, or ``-`` for the standard input, that holds a JSON array of messages."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the messages."""
        try:
            with click.open_file(value, "rb") as file:
                return msgspec.json.decode(file.read(), type=list[JsonObject])
        except OSError as error:
            self.fail(f"{value}: {error.strerror}.", param, ctx)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            self.fail(f"{value}: {_reason(error)}: give a JSON array of messages.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave it to the shell to offer files."""
        del ctx, param
        return [CompletionItem(incomplete, type="file")]


def messages_from(file: list[JsonObject] | None, typed: tuple[JsonObject, ...]) -> list[JsonObject] | None:
    """Put the messages of a file before those typed; None if there are neither."""
    return None if file is None and not typed else [*(file or ()), *typed]


def _reason(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        # Its own words name types of the program.
        return "This is JSON, but of another kind"
    return "The JSON is nested too deeply" if isinstance(error, RecursionError) else "This is not valid JSON"
