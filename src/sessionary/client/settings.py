"""Checking what a client or a call is told: how long to wait, how often to retry, whose sessions."""

import math
import re
from typing import Any, Final

from sessionary import limits
from sessionary.errors import InvalidRequest

TIMEOUT_SECONDS_MAX: Final = 1e9
"""About 30 years: longer means for as long as it takes."""
RETRIES_MAX: Final = 100

_NO_NAME: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no organisation's name holds, as the server has it."""


def seconds(timeout: object) -> float | None:
    """Check a timeout; raises InvalidRequest. None stands for as long as it takes."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or math.isnan(timeout) or timeout <= 0:
        raise InvalidRequest("The timeout must be a number of seconds, more than 0, or None.")
    # No clock of the system counts further, infinity least of all.
    return timeout if timeout < TIMEOUT_SECONDS_MAX else None


def retries_checked(retries: Any) -> int:
    """Check how often to retry; raises InvalidRequest."""
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= RETRIES_MAX:
        raise InvalidRequest(f"The number of retries must be a whole number from 0 to {RETRIES_MAX}.")
    return retries


def organisation_checked(organisation: object) -> str | None:
    """Check the name of an organisation; raises InvalidRequest. None and "" stand for none given."""
    if organisation is None:
        return None
    if not isinstance(organisation, str):
        raise InvalidRequest("The organisation must be text.")
    if len(organisation) > limits.ORGANISATION_LENGTH_MAX or _NO_NAME.search(organisation):
        raise InvalidRequest(
            f"The organisation must have at most {limits.ORGANISATION_LENGTH_MAX} characters, none of them control "
            "characters."
        )
    return organisation or None
