"""From a raw path to what it names."""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from sessionary.errors import NotFound
from sessionary.operations.tokens import is_organisation

COLLECTION: Final = "/ai/sessions"
SESSION: Final = "/ai/sessions/{sessionId}"
EXTENSION: Final = "/ai/sessions/{sessionId}/extend"

_SPELLINGS: Final = frozenset({b"organizations", b"organisations"})
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Place(Struct, frozen=True):
    """What a path names: which kind of place, whose, and which session. The id is as the caller spelled it."""

    kind: str
    organisation: str
    session_id: str


def place_of(path: bytes) -> Place:
    """Match the raw path first and decode its segments after, so that ``a%2Fextend`` is an id; raises NotFound."""
    match path.split(b"/"):
        case [b"", b"api", b"v3", spelling, organisation, b"ai", b"sessions"]:
            kind, session_id = COLLECTION, b""
        case [b"", b"api", b"v3", spelling, organisation, b"ai", b"sessions", session_id] if session_id:
            kind = SESSION
        case [b"", b"api", b"v3", spelling, organisation, b"ai", b"sessions", session_id, b"extend"] if session_id:
            kind = EXTENSION
        case _:
            raise NotFound
    if spelling not in _SPELLINGS:
        raise NotFound
    return Place(kind, _organisation(organisation), _decoded(session_id))


@lru_cache(maxsize=1024)
def _organisation(segment: bytes) -> str:
    name = _decoded(segment)
    if not is_organisation(name):
        raise NotFound
    return name


def _decoded(segment: bytes) -> str:
    if b"%" not in segment:
        return segment.decode("ascii", "replace")
    if _BAD_ESCAPE.search(segment):
        raise NotFound
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise NotFound from None
