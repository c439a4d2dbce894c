"""The server's settings as command line options."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from msgspec.structs import fields

from sessionary.server.config import (
    EffectiveSettings,
    Settings,
    format_setting,
    load_settings,
    setting_descriptions,
    variable_name,
)

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Add ``--config`` and an option for each named setting, or for every setting if none is named."""

    def decorate(command: Command) -> Command:
        help_texts = setting_descriptions()
        for field in reversed(fields(Settings)):
            if not names or field.name in names:
                command = _option(field.name, field.default, help_texts[field.name])(command)
        return click.option("--config", "file", metavar="FILE", help="A TOML file with settings.")(command)

    return decorate


def _option(name: str, default: Any, description: str) -> Callable[[Command], Command]:
    flag = name.replace("_", "-")
    text = f"{description}  [{variable_name(name)}; default: {format_setting(name, default) or 'none'}]"
    if isinstance(default, bool):
        return click.option(f"--{flag}/--no-{flag}", name, default=None, help=text)
    return click.option(f"--{flag}", name, default=None, metavar=type(default).__name__.upper(), help=text)


def settings_from_flags(flags: Mapping[str, Any], *, print_warnings: bool = True) -> EffectiveSettings:
    """Read the settings from options, environment and file; print warnings about unknown or ignored ones."""
    found = load_settings({name: value for name, value in flags.items() if name != "file"}, file=flags["file"])
    for warning in found.warnings if print_warnings else ():
        click.echo(f"sessionary: {warning}", err=True)
    return found
