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

KEY_FORM: Final = (
    rf'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\]){{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}})"'
    rf"|([\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]{{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}})"
)
TAG_FORM: Final = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
TAGS_FORM: Final = rf"{TAG_FORM}([ \t]*,[ \t]*{TAG_FORM})*"

_KEY: Final = re.compile(KEY_FORM.encode())
_ESCAPED: Final = re.compile(rb'\\(["\\])')
_TAG: Final = re.compile(TAG_FORM.encode())
_TAGS: Final = re.compile(TAGS_FORM.encode())
_VERSION: Final = re.compile(rb"[1-9][0-9]{0,17}")


def once_of(headers: Headers, principal: str, method: str, path: bytes, body: bytes) -> Once | None:
    """Read ``Idempotency-Key``: a quoted string as its draft says, or the same without quotes; raises InvalidHeader."""
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    key = _KEY.fullmatch(given)
    if key is None:
        raise InvalidHeader(f"{IDEMPOTENCY_KEY} takes 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters.")
    text = _ESCAPED.sub(rb"\1", key[1]) if key[1] else key[2]
    request = b"%b %b\n%b" % (method.encode(), path, body)
    return Once(principal, text.decode("ascii"), hashlib.sha256(request).digest())


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
    # A comma may also stand inside a tag, so the list is matched as a whole.
    if not _TAGS.fullmatch(given.strip()):
        raise InvalidHeader(f"{header} is not a list of entity tags.")
    return [(tag[1] is not None, tag[2]) for tag in _TAG.finditer(given)]
