"""Numbers on the command line: in plain digits, for Python would also take those of other scripts, and ``nan``."""

import re
from typing import Any, Final

import click

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")


class WholeNumber(click.IntRange):
    """A whole number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number."""
        if isinstance(value, str) and not _WHOLE.fullmatch(value.strip()):
            self.fail("It must be a whole number in plain digits.", param, ctx)
        return super().convert(value, param, ctx)


class Seconds(click.FloatRange):
    """A number of seconds above 0."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number."""
        if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
            self.fail("It must be a number of seconds above 0, in plain digits.", param, ctx)
        return super().convert(value, param, ctx)
