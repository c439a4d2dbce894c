"""The headers under which a request has its effect: at most once, or only on the version it names."""

import hashlib
import re
from typing import Final

from sessionary.errors import InvalidHeader
from sessionary.http.requests import Headers
from sessionary.limits import IDEMPOTENCY_KEY_LENGTH_MAX
from sessionary.model import IDEMPOTENCY_KEY
from sessionary.store.base import Once

NO_VERSION: Final = -1
"""What a tag stands for that no version of a session ever had."""

_KEY: Final = re.compile(rb'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"|([\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]+)')
_TAG: Final = re.compile(rb'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*')
_VERSION: Final = re.compile(rb"[1-9][0-9]{0,17}")


def once_of(headers: Headers, principal: str, method: str, path: bytes, body: bytes) -> Once | None:
    """Read ``Idempotency-Key``: a quoted string as its draft says, or the same without quotes; raises InvalidHeader."""
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    key = _KEY.fullmatch(given)
    if key is None:
        raise InvalidHeader(f"{IDEMPOTENCY_KEY} must be a string of printable ASCII characters.")
    text = (key[1] or key[2]).replace(b'\\"', b'"').replace(b"\\\\", b"\\").decode("ascii")
    if len(text) > IDEMPOTENCY_KEY_LENGTH_MAX:
        raise InvalidHeader(f"{IDEMPOTENCY_KEY} takes at most {IDEMPOTENCY_KEY_LENGTH_MAX} characters.")
    request = b"%b %b\n%b" % (method.encode(), path, body)
    return Once(principal, text, hashlib.sha256(request).digest())


def version_wanted(headers: Headers) -> int | None:
    """Read ``If-Match``: the one version a change is meant for, None for any; raises InvalidHeader."""
    given = headers.get(b"if-match")
    if given is None or given.strip() == b"*":
        return None
    tags = _tags(given, "If-Match")
    if len(tags) > 1:
        raise InvalidHeader("If-Match takes one tag here.")
    weak, tag = tags[0]
    return int(tag) if not weak and _VERSION.fullmatch(tag) else NO_VERSION


def is_known(headers: Headers, version: int) -> bool:
    """Say whether ``If-None-Match`` names this version: the caller has it already; raises InvalidHeader."""
    given = headers.get(b"if-none-match")
    if given is None:
        return False
    if given.strip() == b"*":
        return True
    return any(tag == b"%d" % version for _, tag in _tags(given, "If-None-Match"))


def _tags(given: bytes, header: str) -> list[tuple[bool, bytes]]:
    found = [_TAG.fullmatch(part) for part in given.split(b",")]
    if not all(found):
        raise InvalidHeader(f"{header} is not a list of entity tags.")
    return [(tag[1] is not None, tag[2]) for tag in found if tag is not None]
