"""How long the fault tests run: briefly by default, long with `make soak`."""

import logging
import os
from typing import Final

# The share of the long run: 0 by default, 1 with `make soak`.
SOAK: Final = float(os.environ.get("SOAK", "0"))

_logger: Final = logging.getLogger("tests.faults")


def soak_scaled(small: int, long: int) -> int:
    """Return a number between the small one and that of a long run."""
    return round(small + (long - small) * SOAK)


def log_figures(**figures: object) -> None:
    """Log the figures of a test; `make soak` shows them."""
    _logger.warning("%s", ", ".join(f"{name} {figure}" for name, figure in figures.items()))
