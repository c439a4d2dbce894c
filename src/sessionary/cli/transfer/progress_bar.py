"""A progress bar, shown only on a terminal."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click


@contextmanager
def progress_bar(label: str, length: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error; call the yielded function with each advance."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    endless: Any = itertools.count() if length is None else None
    with click.progressbar(
        endless, length=length, label=label, file=sys.stderr, show_pos=length is None, update_min_steps=1
    ) as bar:
        yield bar.update
