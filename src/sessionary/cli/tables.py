"""Text tables that fit the width of the terminal."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import click
from wcwidth import clip, ljust, width

_GAP: Final = "  "


class Column(NamedTuple):
    """A column and its cells; it may shrink to ``width_min`` display columns, or not at all if that is 0."""

    heading: str
    cells: Sequence[str]
    width_min: int = 0

    @property
    def width(self) -> int:
        """The width of its widest cell, in display columns."""
        return max(map(width, (self.heading, *self.cells)), default=0)

    @property
    def minimum_width(self) -> int:
        """The smallest width it may have."""
        return min(self.width, self.width_min) if self.width_min else self.width


def print_table(*layouts: Iterable[Column]) -> None:
    """Print the first layout that fits the terminal, else the last; without a terminal the first, not shortened."""
    tables = [tuple(layout) for layout in layouts]
    if not sys.stdout.isatty():
        _print(tables[0], [column.width for column in tables[0]])
        return
    available = shutil.get_terminal_size().columns
    fitting = (table for table in tables if _total(column.minimum_width for column in table) <= available)
    chosen = next(fitting, tables[-1])
    _print(chosen, _fitted(chosen, available))


def shorten(text: str, columns: int) -> str:
    """Shorten a text to so many display columns, with an ellipsis."""
    return text if width(text) <= columns else f"{clip(text, 0, max(0, columns - 1))}…"


def _fitted(columns: Sequence[Column], available: int) -> list[int]:
    """Shrink the widest columns that may shrink, until all fit or none may shrink any more."""
    widths = [column.width for column in columns]
    while (excess := _total(widths) - available) > 0:
        shrinkable = [number for number, column in enumerate(columns) if widths[number] > column.minimum_width]
        if not shrinkable:
            break
        widest = max(shrinkable, key=lambda number: widths[number])
        second = max((widths[number] for number in shrinkable if number != widest), default=0)
        step = max(1, min(excess, widths[widest] - max(second, columns[widest].minimum_width)))
        widths[widest] -= step
    return widths


def _print(columns: Sequence[Column], widths: Sequence[int]) -> None:
    lines = zip(*((column.heading, *column.cells) for column in columns), strict=True)
    for number, line in enumerate(lines):
        cells = [ljust(shorten(cell, size), size) for cell, size in zip(line, widths, strict=True)]
        click.secho(_GAP.join(cells).rstrip(), bold=number == 0)


def _total(widths: Iterable[int]) -> int:
    sizes = list(widths)
    return sum(sizes) + len(_GAP) * (len(sizes) - 1)
