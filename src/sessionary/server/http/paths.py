"""Matching of request paths.

``/api/v3/organizations/acme/ai/sessions/42`` matches the path template ``/ai/sessions/{sessionId}`` with the
organisation ``acme`` and the session id ``42``.
"""

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

_COLLECTION_NAMES: Final = frozenset({b"organizations", b"organisations"})
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SLASHES: Final = re.compile(rb"/{2,}")
_PREFIX_SAFE: Final = "/%!$&'()*+,;=:@~"

_RawMatch = tuple[str, bytes, bytes]
"""A path template, and the segments of the organisation and the session id, still percent-encoded."""


class RouteMatch(Struct, frozen=True):
    """What a path matches: a path template, and its parameters as the caller wrote them, decoded.

    ``session_id`` is empty where the template has none.
    """

    template: str
    organisation: str
    session_id: str


@lru_cache(maxsize=64)
def normalise_prefix(text: str) -> str:
    """Return a prefix with ``/`` before each segment and none at the end: ``tools/chat/`` gives ``/tools/chat``."""
    return "".join(f"/{segment}" for segment in quote(text, safe=_PREFIX_SAFE).split("/") if segment)


def strip_prefix(prefix: str, raw_path: bytes, server_paths: Collection[bytes]) -> bytes:
    """Return a raw path without the prefix, with runs of slashes collapsed and none at the end.

    ``server_paths`` are the paths beside those of the API, such as health checks.
    """
    path = _SLASHES.sub(b"/", raw_path) if b"//" in raw_path else raw_path
    if path.endswith(b"/"):
        path = path[:-1]
    if not prefix:
        return path
    encoded_prefix = prefix.encode()
    # A proxy may have removed the prefix already, and the paths of the API start with `/api`, which may also be the
    # prefix: so match first. No path of the API ends with another one, so this is never ambiguous.
    if not path.startswith(encoded_prefix + b"/") or path in server_paths or _match(path) is not None:
        return path
    return path[len(encoded_prefix) :]


def match_route(path: bytes) -> RouteMatch:
    """Match a raw path; raises NotFoundError.

    Segments are decoded after the match, so ``a%2Fextend`` is a session id.
    """
    match = _match(path)
    if match is None:
        raise NotFoundError
    template, organisation, session_id = match
    return RouteMatch(template, _decode_organisation(organisation), _decode_segment(session_id))


def _match(path: bytes) -> _RawMatch | None:
    match path.split(b"/"):
        case [b"", b"api", b"v3", name, organisation, b"ai", b"sessions"]:
            template, session_id = COLLECTION, b""
        case [b"", b"api", b"v3", name, organisation, b"ai", b"sessions", session_id] if session_id:
            template = SESSION
        case [b"", b"api", b"v3", name, organisation, b"ai", b"sessions", session_id, b"extend"] if session_id:
            template = EXTENSION
        case _:
            return None
    return (template, organisation, session_id) if name in _COLLECTION_NAMES else None


@lru_cache(maxsize=1024)
def _decode_organisation(segment: bytes) -> str:
    name = _decode_segment(segment)
    if not is_valid_organisation(name):
        raise NotFoundError
    return name


def _decode_segment(segment: bytes) -> str:
    if b"%" not in segment:
        return segment.decode("ascii", "replace")
    if _BAD_ESCAPE.search(segment):
        raise NotFoundError
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise NotFoundError from None
