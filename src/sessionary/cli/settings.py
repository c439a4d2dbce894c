"""Settings as flags."""

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
    """Add a flag for each setting named, or for every setting if none is; and ``--config`` for the file."""

    def decorate(command: Command) -> Command:
        told = setting_descriptions()
        for field in reversed(fields(Settings)):
            if not names or field.name in names:
                command = _option(field.name, field.default, told[field.name])(command)
        return click.option("--config", "file", metavar="FILE", help="A TOML file with settings.")(command)

    return decorate


def _option(name: str, default: Any, description: str) -> Callable[[Command], Command]:
    flag = name.replace("_", "-")
    text = f"{description}  [{variable_name(name)}; default: {format_setting(name, default) or 'none'}]"
    if isinstance(default, bool):
        return click.option(f"--{flag}/--no-{flag}", name, default=None, help=text)
    return click.option(f"--{flag}", name, default=None, metavar=type(default).__name__.upper(), help=text)


def from_flags(flags: Mapping[str, Any], *, warns: bool = True) -> EffectiveSettings:
    """Work out the settings from a command's flags, the environment and the file; warn of what is not obeyed."""
    found = load_settings({name: value for name, value in flags.items() if name != "file"}, file=flags["file"])
    for warning in found.warnings if warns else ():
        click.echo(f"sessionary: {warning}", err=True)
    return found
