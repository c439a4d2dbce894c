"""Conditional requests (RFC 9110, section 13): ``If-Match`` (optimistic locking) and ``If-None-Match``.

A session's entity tag is its version in quotes: version 3 has the tag ``"3"``. Lists have no tag.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

from sessionary.errors import InvalidHeaderError, PreconditionFailedError
from sessionary.server.http.requests import Headers
from sessionary.server.store.base import ANY_VERSION, Versions, matches_if_version, matches_unless_version

NO_VERSION: Final = -1
"""Stands for tags that no version of a session ever has."""

_ETAG_PATTERN: Final = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
# Empty members of a list are skipped, as RFC 9110 demands. Each blank and each comma can be matched by one part only:
# with two parts for it, a value that is not a list would be tried in every combination.
ETAGS_PATTERN: Final = rf"(,[ \t,]*)?{_ETAG_PATTERN}([ \t]*,[ \t,]*{_ETAG_PATTERN})*([ \t]*,[ \t,]*)?"

_ETAG: Final = re.compile(_ETAG_PATTERN.encode())
_ETAGS: Final = re.compile(ETAGS_PATTERN.encode())
_VERSION: Final = re.compile(rb"[1-9][0-9]{0,17}")

LIST_HAS_NO_ETAG: Final = "A list of sessions has no entity tag, so this condition is never true here."
_WEAK: Final = (
    "If-Match takes strong tags only and the tag sent is weak, so it never matches: send it without W/. "
    "A proxy that compresses responses often makes tags weak."
)
_UNKNOWN: Final = "If-Match has a tag that this server never sends: send the ETag of a response unchanged."


def parse_if_match(headers: Headers) -> Versions:
    """Parse ``If-Match`` into the versions of which one is required, None for any; raises InvalidHeaderError.

    The comparison is strong: a weak tag matches no version.
    """
    value = headers.get(b"if-match")
    if value is None:
        return None
    tags = _parse_etags(value, "If-Match")
    if tags == ANY_VERSION:
        return None
    versions = _versions_in(tag for is_weak, tag in tags if not is_weak)
    return versions if len(versions) > 1 else versions[0] if versions else NO_VERSION


def parse_if_none_match(headers: Headers) -> Versions:
    """Parse ``If-None-Match`` into the versions that are excluded, ``*`` for any; raises InvalidHeaderError.

    The comparison is weak: ``W/"3"`` matches version 3.
    """
    value = headers.get(b"if-none-match")
    if value is None:
        return None
    tags = _parse_etags(value, "If-None-Match")
    return tags if tags == ANY_VERSION else _versions_in(tag for _, tag in tags)


def check_if_match(headers: Headers, version: int) -> None:
    """Check ``If-Match`` of a read; raises PreconditionFailedError."""
    if not matches_if_version(parse_if_match(headers), version):
        raise PreconditionFailedError(version)


def has_version(headers: Headers, version: int) -> bool:
    """Return whether ``If-None-Match`` names this version: the caller has it already; raises InvalidHeaderError."""
    return matches_unless_version(parse_if_none_match(headers), version)


def holds_without_etag(headers: Headers) -> bool:
    """Return whether the preconditions hold for something without an entity tag, such as a list.

    Only ``If-Match`` with tags and ``If-None-Match: *`` do not.
    """
    return parse_if_match(headers) is None and parse_if_none_match(headers) != ANY_VERSION


def explain_if_match(error: PreconditionFailedError, headers: Headers) -> PreconditionFailedError:
    """Return an error that explains why ``If-Match`` failed, where sending the same tag again can never succeed."""
    value = headers.get(b"if-match")
    if not error.version or value is None:
        return error
    tags = _parse_etags(value, "If-Match")
    if tags == ANY_VERSION:
        return error
    if error.version in _versions_in(tag for is_weak, tag in tags if is_weak):
        return PreconditionFailedError(error.version, _WEAK)
    if _versions_in(tag for is_weak, tag in tags if not is_weak):
        return error
    return PreconditionFailedError(error.version, _WEAK if any(is_weak for is_weak, _ in tags) else _UNKNOWN)


def _versions_in(tags: Iterable[bytes]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(tag) for tag in tags if _VERSION.fullmatch(tag)))


def _parse_etags(value: bytes, header: str) -> list[tuple[bool, bytes]] | Literal["*"]:
    """Parse a list of entity tags into pairs: whether the tag is weak, and the tag without its quotes."""
    value = value.strip(b" \t")
    if value == b"*":
        return ANY_VERSION
    # A comma may also be inside a tag, so the list is matched as a whole.
    if not _ETAGS.fullmatch(value):
        raise InvalidHeaderError(f"{header} must be * or a list of entity tags in quotes.")
    return [(tag[1] is not None, tag[2]) for tag in _ETAG.finditer(value)]
