"""A bar for whoever waits at a terminal, and nothing for anyone else."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click


@contextmanager
def progress(label: str, length: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show how far something is, on the standard error; what it yields is told how much further it came."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    endless: Any = itertools.count() if length is None else None
    with click.progressbar(
        endless, length=length, label=label, file=sys.stderr, show_pos=length is None, update_min_steps=1
    ) as bar:
        yield bar.update
