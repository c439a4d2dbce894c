"""Tables for people: columns by what they take on the screen, fitted to the terminal."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import click
from wcwidth import clip, ljust, width

_GAP: Final = "  "


class Column(NamedTuple):
    """A column and its cells; ``width_min`` is how narrow it may become, 0 if it keeps its width."""

    heading: str
    cells: Sequence[str]
    width_min: int = 0

    @property
    def width(self) -> int:
        """The width that everything in it needs."""
        return max(map(width, (self.heading, *self.cells)), default=0)

    @property
    def narrowest(self) -> int:
        """The least width it may have."""
        return min(self.width, self.width_min) if self.width_min else self.width


def print_table(*choices: Iterable[Column]) -> None:
    """Print the first choice of columns that fits the terminal, or the last; without a terminal the first, uncut."""
    tables = [tuple(choice) for choice in choices]
    if not sys.stdout.isatty():
        _print(tables[0], [column.width for column in tables[0]])
        return
    room = shutil.get_terminal_size().columns
    fitting = (table for table in tables if _total(column.narrowest for column in table) <= room)
    chosen = next(fitting, tables[-1])
    _print(chosen, _fitted(chosen, room))


def cut(text: str, columns: int) -> str:
    """Cut a text to what so many columns of the screen hold."""
    return text if width(text) <= columns else f"{clip(text, 0, max(0, columns - 1))}…"


def _fitted(columns: Sequence[Column], room: int) -> list[int]:
    """Take from the widest of the columns that may shrink, until all fit or none may shrink any more."""
    widths = [column.width for column in columns]
    while (excess := _total(widths) - room) > 0:
        shrinkable = [number for number, column in enumerate(columns) if widths[number] > column.narrowest]
        if not shrinkable:
            break
        widest = max(shrinkable, key=lambda number: widths[number])
        second = max((widths[number] for number in shrinkable if number != widest), default=0)
        step = max(1, min(excess, widths[widest] - max(second, columns[widest].narrowest)))
        widths[widest] -= step
    return widths


def _print(columns: Sequence[Column], widths: Sequence[int]) -> None:
    lines = zip(*((column.heading, *column.cells) for column in columns), strict=True)
    for number, line in enumerate(lines):
        cells = [ljust(cut(cell, size), size) for cell, size in zip(line, widths, strict=True)]
        click.secho(_GAP.join(cells).rstrip(), bold=number == 0)


def _total(widths: Iterable[int]) -> int:
    sizes = list(widths)
    return sum(sizes) + len(_GAP) * (len(sizes) - 1)
