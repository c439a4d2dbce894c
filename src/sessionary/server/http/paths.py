"""From a raw path to what it names."""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

from sessionary.errors import NotFoundError
from sessionary.server.operations.tokens import is_valid_organisation

COLLECTION: Final = "/ai/sessions"
SESSION: Final = "/ai/sessions/{sessionId}"
EXTENSION: Final = "/ai/sessions/{sessionId}/extend"

_SPELLINGS: Final = frozenset({b"organizations", b"organisations"})
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SLASHES: Final = re.compile(rb"/{2,}")
_PREFIX_SAFE: Final = "/%!$&'()*+,;=:@~"

_Match = tuple[str, bytes, bytes]
"""The kind of place, and the segments that name the organisation and the session, not decoded."""


class Place(Struct, frozen=True):
    """What a path names: which kind of place, whose, and which session. The id is as the caller spelled it."""

    kind: str
    organisation: str
    session_id: str


@lru_cache(maxsize=64)
def prefix_of(text: str) -> str:
    """Bring a path prefix to one form, whatever slashes are at its ends: ``/`` before each segment, or nothing."""
    return "".join(f"/{segment}" for segment in quote(text, safe=_PREFIX_SAFE).split("/") if segment)


def path_below(prefix: str, raw_path: bytes, plain: Collection[bytes]) -> bytes:
    """Bring a raw path to the form that is matched: each run of slashes is one, none at the end, no prefix before it.

    ``plain`` are the paths beside those of the API.
    """
    path = _SLASHES.sub(b"/", raw_path) if b"//" in raw_path else raw_path
    if path.endswith(b"/"):
        path = path[:-1]
    if not prefix:
        return path
    before = prefix.encode()
    # A proxy may have taken the prefix off, and a path of ours may itself begin with it (`/api`): look before taking
    # it off. No path of ours is another one of ours with something before it, so this is never ambiguous.
    if not path.startswith(before + b"/") or path in plain or _match(path) is not None:
        return path
    return path[len(before) :]


def place_of(path: bytes) -> Place:
    """Match the raw path first and decode its segments after, so that ``a%2Fextend`` is an id; raises NotFoundError."""
    match = _match(path)
    if match is None:
        raise NotFoundError
    kind, organisation, session_id = match
    return Place(kind, _organisation(organisation), _decoded(session_id))


def _match(path: bytes) -> _Match | None:
    match path.split(b"/"):
        case [b"", b"api", b"v3", spelling, organisation, b"ai", b"sessions"]:
            kind, session_id = COLLECTION, b""
        case [b"", b"api", b"v3", spelling, organisation, b"ai", b"sessions", session_id] if session_id:
            kind = SESSION
        case [b"", b"api", b"v3", spelling, organisation, b"ai", b"sessions", session_id, b"extend"] if session_id:
            kind = EXTENSION
        case _:
            return None
    return (kind, organisation, session_id) if spelling in _SPELLINGS else None


@lru_cache(maxsize=1024)
def _organisation(segment: bytes) -> str:
    name = _decoded(segment)
    if not is_valid_organisation(name):
        raise NotFoundError
    return name


def _decoded(segment: bytes) -> str:
    if b"%" not in segment:
        return segment.decode("ascii", "replace")
    if _BAD_ESCAPE.search(segment):
        raise NotFoundError
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise NotFoundError from None
