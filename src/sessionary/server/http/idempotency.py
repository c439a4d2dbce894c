"""Parsing the ``Idempotency-Key`` header, and hashing the request.

Whether a key is new, a replay or a misuse is decided where commands are applied: ``store/rules.py``.
"""

import hashlib
import re
from typing import Final

from sessionary.constants import IDEMPOTENCY_KEY_LENGTH_MAX
from sessionary.errors import InvalidHeaderError
from sessionary.models import IDEMPOTENCY_KEY
from sessionary.server.http.requests import Headers
from sessionary.server.store.base import IdempotencyKey

KEY_PATTERN: Final = (
    rf'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\]){{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}})"'
    rf"|([\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]{{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}})"
)

_KEY: Final = re.compile(KEY_PATTERN.encode())
_ESCAPED: Final = re.compile(rb'\\(["\\])')


def parse_idempotency_key(
    headers: Headers, principal: str, method: str, path: bytes, body: bytes
) -> IdempotencyKey | None:
    """Parse ``Idempotency-Key``: a quoted string, as the IETF draft has it, or the same without quotes.

    The fingerprint covers method, path and body. Raises InvalidHeaderError.
    """
    value = headers.get(b"idempotency-key")
    if value is None:
        return None
    match = _KEY.fullmatch(value)
    if match is None:
        raise InvalidHeaderError(
            f"{IDEMPOTENCY_KEY} takes 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters."
        )
    key = _ESCAPED.sub(rb"\1", match[1]) if match[1] else match[2]
    request = b"%b %b\n%b" % (method.encode(), path, body)
    return IdempotencyKey(principal, key.decode("ascii"), hashlib.sha256(request).digest())
