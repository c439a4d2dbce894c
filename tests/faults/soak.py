"""How much of a fault a run gets: a little with every change, much with `make soak`."""

import logging
import os
from typing import Final

# How far from the small dose to the long one: 0 unless the environment says more, 1 with `make soak`.
SOAK: Final = float(os.environ.get("SOAK", "0"))

_logger: Final = logging.getLogger("tests.faults")


def dose(small: int, long: int) -> int:
    """Choose between the dose of every day and the long one."""
    return round(small + (long - small) * SOAK)


def note(**figures: object) -> None:
    """Write down what a test saw; `make soak` shows it."""
    _logger.warning("%s", ", ".join(f"{name} {figure}" for name, figure in figures.items()))
