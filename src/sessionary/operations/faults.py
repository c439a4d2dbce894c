"""What is wrong with a request, in words a caller can act on."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from sessionary.errors import Fault, InvalidRequest

_DETAIL_LENGTH_MAX: Final = 300
_FAULTS_SHOWN_MAX: Final = 20
_WHERE: Final = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def invalid(faults: Sequence[Fault]) -> InvalidRequest:
    """Make one error of several faults: the first is its detail, at most twenty are listed."""
    first = faults[0]
    where = f"{first.pointer}: " if first.pointer else ""
    return InvalidRequest(f"{where}{first.detail}", faults=tuple(faults[:_FAULTS_SHOWN_MAX]))


def fault_from(error: msgspec.ValidationError) -> Fault:
    """Turn what the decoder says into a JSON pointer and a sentence."""
    text = str(error)
    where = _WHERE.search(text)
    pointer = "".join(f"/{name or number}" for name, number in _STEP.findall(where[1])) if where else ""
    detail = text[: where.start()] if where else text
    if detail.startswith("Invalid enum value"):
        # What it was instead is the caller's, and may be a secret.
        detail = "It is none of the words that may stand here"
    if "matching regex" in detail:
        detail = "Control characters are not allowed"
    return Fault(pointer, f"{detail[:_DETAIL_LENGTH_MAX].replace('`', '')}.")
