"""The headers under which a request has its effect: at most once, or only on the version it names."""

import hashlib
import re
from collections.abc import Iterable
from typing import Final, Literal

from sessionary.constants import IDEMPOTENCY_KEY_LENGTH_MAX
from sessionary.errors import InvalidHeaderError, PreconditionFailedError
from sessionary.models import IDEMPOTENCY_KEY
from sessionary.server.http.requests import Headers
from sessionary.server.store.base import (
    ANY_VERSION,
    IdempotencyKey,
    Versions,
    matches_if_version,
    matches_unless_version,
)

NO_VERSION: Final = -1
"""What a tag stands for that no version of a session ever had."""

KEY_FORM: Final = (
    rf'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\]){{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}})"'
    rf"|([\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]{{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}})"
)
TAG_FORM: Final = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
# Empty members of a list are skipped, as RFC 9110 has it. Each blank and each comma is matched in one way only: where
# two parts could take it, a value that is no list would be tried in every combination.
TAGS_FORM: Final = rf"(,[ \t,]*)?{TAG_FORM}([ \t]*,[ \t,]*{TAG_FORM})*([ \t]*,[ \t,]*)?"

_KEY: Final = re.compile(KEY_FORM.encode())
_ESCAPED: Final = re.compile(rb'\\(["\\])')
_TAG: Final = re.compile(TAG_FORM.encode())
_TAGS: Final = re.compile(TAGS_FORM.encode())
_VERSION: Final = re.compile(rb"[1-9][0-9]{0,17}")

LIST_HAS_NO_TAG: Final = "A list of sessions has no entity tag, so this condition is never true here."
_WEAK: Final = (
    "If-Match takes strong tags only and the tag sent is weak, so it never matches: send it without W/. "
    "Something on the way, often a proxy that compresses, made it weak."
)
_FOREIGN: Final = "If-Match names a tag that this server never gives: send the ETag of an answer as it came."


def idempotency_key_from(
    headers: Headers, principal: str, method: str, path: bytes, body: bytes
) -> IdempotencyKey | None:
    """Read ``Idempotency-Key``: a quoted string, as its draft says, or without quotes; raises InvalidHeaderError."""
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    key = _KEY.fullmatch(given)
    if key is None:
        raise InvalidHeaderError(
            f"{IDEMPOTENCY_KEY} takes 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters."
        )
    text = _ESCAPED.sub(rb"\1", key[1]) if key[1] else key[2]
    request = b"%b %b\n%b" % (method.encode(), path, body)
    return IdempotencyKey(principal, text.decode("ascii"), hashlib.sha256(request).digest())


def version_wanted(headers: Headers) -> Versions:
    """Read ``If-Match``: the versions a request is meant for, None for any; raises InvalidHeaderError.

    It compares strongly: a weak tag is a tag of nothing.
    """
    given = headers.get(b"if-match")
    if given is None:
        return None
    tags = _tags(given, "If-Match")
    if tags == ANY_VERSION:
        return None
    versions = _versions_in(tag for weak, tag in tags if not weak)
    return versions if len(versions) > 1 else versions[0] if versions else NO_VERSION


def version_refused(headers: Headers) -> Versions:
    """Read ``If-None-Match``: the versions that rule a request out, `*` for any; raises InvalidHeaderError.

    It compares weakly: a weak tag means the version that it names.
    """
    given = headers.get(b"if-none-match")
    if given is None:
        return None
    tags = _tags(given, "If-None-Match")
    return tags if tags == ANY_VERSION else _versions_in(tag for _, tag in tags)


def check_read(headers: Headers, version: int) -> None:
    """Check ``If-Match`` of a read; raises PreconditionFailedError."""
    if not matches_if_version(version_wanted(headers), version):
        raise PreconditionFailedError(version)


def is_known(headers: Headers, version: int) -> bool:
    """Say whether ``If-None-Match`` names this version: the caller has it already; raises InvalidHeaderError."""
    return matches_unless_version(version_refused(headers), version)


def holds_for_list(headers: Headers) -> bool:
    """Say whether the conditions hold for what has no entity tag: only those that name tags, or any, are false."""
    return version_wanted(headers) is None and version_refused(headers) != ANY_VERSION


def explained(error: PreconditionFailedError, headers: Headers) -> PreconditionFailedError:
    """Say why ``If-Match`` did not match where sending the same again can never help."""
    given = headers.get(b"if-match")
    if not error.version or given is None:
        return error
    tags = _tags(given, "If-Match")
    if tags == ANY_VERSION:
        return error
    if error.version in _versions_in(tag for weak, tag in tags if weak):
        return PreconditionFailedError(error.version, _WEAK)
    if _versions_in(tag for weak, tag in tags if not weak):
        return error
    return PreconditionFailedError(error.version, _WEAK if any(weak for weak, _ in tags) else _FOREIGN)


def _versions_in(tags: Iterable[bytes]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(tag) for tag in tags if _VERSION.fullmatch(tag)))


def _tags(given: bytes, header: str) -> list[tuple[bool, bytes]] | Literal["*"]:
    given = given.strip(b" \t")
    if given == b"*":
        return ANY_VERSION
    # A comma may also stand inside a tag, so the list is matched as a whole.
    if not _TAGS.fullmatch(given):
        raise InvalidHeaderError(f"{header} must be * or a list of entity tags in quotes.")
    return [(tag[1] is not None, tag[2]) for tag in _TAG.finditer(given)]
