"""Types of command line parameters: messages, JSON objects and numbers.

Numbers are plain ASCII digits. Python's own parsers would also accept other scripts' digits and ``nan``.
"""

from typing import Any, Final, get_args

import click
import msgspec
from click.shell_completion import CompletionItem

from sessionary.models import JsonObject, Role
from sessionary.server.setting_values import NUMBER, WHOLE_NUMBER

ROLES: Final = get_args(Role)


class TypedMessage(click.ParamType[Any]):
    """A message as ``role:text``."""

    name = "role:text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse ``user:Hello`` into a message."""
        if isinstance(value, dict):
            return value
        role, colon, text = str(value).partition(":")
        if not colon or role not in ROLES:
            self.fail(f"{value!r} must be one of {', '.join(ROLES)}, a colon and the text.", param, ctx)
        return {"role": role, "content": text}

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the role."""
        del ctx, param
        return [CompletionItem(f"{role}:") for role in ROLES if role.startswith(incomplete)]


class JsonObjectText(click.ParamType[Any]):
    """A JSON object."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the object."""
        try:
            return msgspec.json.decode(value, type=JsonObject)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            self.fail(f"{_reason(error)}: give a JSON object.", param, ctx)


class MessagesFile(click.ParamType[Any]):
    """The path of a file with a JSON array of messages; ``-`` is standard input."""

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
        """Let the shell complete file names."""
        del ctx, param
        return [CompletionItem(incomplete, type="file")]


class WholeNumber(click.IntRange):
    """An integer within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the number."""
        if isinstance(value, str) and not WHOLE_NUMBER.fullmatch(value.strip()):
            self.fail("It must be a whole number in plain digits.", param, ctx)
        return super().convert(value, param, ctx)


class Seconds(click.FloatRange):
    """A number of seconds greater than 0."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the number."""
        if isinstance(value, str) and not NUMBER.fullmatch(value.strip()):
            self.fail("It must be a number of seconds above 0, in plain digits.", param, ctx)
        return super().convert(value, param, ctx)


def messages_from(file: list[JsonObject] | None, typed: tuple[JsonObject, ...]) -> list[JsonObject] | None:
    """Join the messages of a file and the typed ones, in this order; None if there are neither."""
    return None if file is None and not typed else [*(file or ()), *typed]


def _reason(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        # The error's own text names Python types.
        return "This is JSON, but of another type"
    return "The JSON is nested too deeply" if isinstance(error, RecursionError) else "This is not valid JSON"
