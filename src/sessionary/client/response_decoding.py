"""Decoding of responses, from our server and from others.

Missing members and nulls become empty values (see ``results``), so a result always has the types that it declares. An
object without any member of the API, such as ``{"error": "maintenance"}``, is refused.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import UnionType
from typing import Any, Final, Generic, TypeVar, Union, get_args, get_origin

import httpx2
import msgspec
from msgspec.structs import fields

from sessionary.client.results import (
    CreatedSession,
    DeletedSession,
    ExtendedSession,
    Result,
    UpdatedSession,
    parse_datetime,
)
from sessionary.errors import MismatchedResponseError, Response, ResponseValidationError, SessionaryError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

REQUEST_ID: Final = "X-Request-Id"
REQUEST_ID_PREFIX: Final = "sessionary-"
"""The prefix of the request ids that this client makes."""
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

_NO_CONTENT: Final = 204
_MAY_BE_EMPTY: Final = (DeletedSession, ExtendedSession, UpdatedSession)
"""The results that a server may confirm with status 204 and no body."""
_COMMON_MEMBERS: Final = frozenset({"status", "message", "title", "error", "errors"})
"""Members that any JSON document may have, so they do not show that a response is one of this API."""
RESPONSE_BYTES_MAX: Final = 128 * 1024 * 1024
"""More than the largest session takes; counted after decompression."""


class APIResponse(Generic[T_co]):
    """A successful response: the result of the operation and the HTTP response that it came in."""

    def __init__(self, http_response: Response, result: T_co) -> None:
        """Hold a response whose body was decoded already."""
        self.http_response: Final = http_response
        """The whole response: ``content``, ``text``, ``links``, ``json()``."""
        self._result: Final = result

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self.http_response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The response headers; case does not matter."""
        return self.http_response.headers

    @property
    def request_id(self) -> str | None:
        """The id of the request, as in the server's log."""
        return self.headers.get(REQUEST_ID)

    @property
    def etag(self) -> str | None:
        """The entity tag of this version of the session, for ``if_match`` and ``if_none_match``."""
        return self.headers.get("ETag")

    def parse(self) -> T_co:
        """Return what the operation itself returns."""
        return self._result

    def __repr__(self) -> str:
        return f"<APIResponse {self.status_code}>"


def decode_response(response: httpx2.Response, result_type: type[T]) -> T:
    """Decode the body of a successful response; raises ResponseValidationError if it is not one of this API."""
    (item_type,) = get_args(result_type) or (None,)
    try:
        if response.status_code == _NO_CONTENT and result_type in _MAY_BE_EMPTY:
            result: Any = result_type()
        elif item_type is None:
            result = _decode_object(_decode_json(response), result_type)
        else:
            result = [_decode_object(item, item_type) for item in _require_list(_decode_json(response))]
    except ValueError as error:
        raise ResponseValidationError(f"The response is not one of this API: {error}.") from error
    return result  # type: ignore[no-any-return]  # it is of `result_type`


class BodyBuffer:
    """Collects the parts of a response's body, up to a limit."""

    def __init__(self) -> None:
        """Begin empty."""
        self._parts: Final[list[bytes]] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Add a part; raises ResponseValidationError once the body is too large."""
        self._size += len(part)
        if self._size > RESPONSE_BYTES_MAX:
            raise ResponseValidationError(f"The response is larger than {RESPONSE_BYTES_MAX} bytes.")
        self._parts.append(part)

    def store_in(self, response: httpx2.Response) -> None:
        """Make the collected bytes the content of a response, as its own ``read()`` does."""
        response._content = b"".join(self._parts)  # noqa: SLF001


def check_request_id(response: httpx2.Response, request_id: str) -> None:
    """Refuse the response to another request; raises MismatchedResponseError.

    Only ids that this client made are compared: a server or proxy may send ids of its own.
    """
    received = response.headers.get(REQUEST_ID, "")
    if received.startswith(REQUEST_ID_PREFIX) and received != request_id:
        raise MismatchedResponseError


def network_stream_of(error: SessionaryError) -> Any:
    """Return the network stream that the response of an error came from, or None."""
    return error.response.extensions.get("network_stream") if isinstance(error.response, httpx2.Response) else None


def check_session_id(result: Any, session_id: str | None) -> None:
    """Refuse a result about another session than the requested one; a result without an id is accepted."""
    found = getattr(result, "id", "") or getattr(result, "session_id", "")
    if session_id is None or not found or found == session_id:
        return
    # Case is ignored for UUIDs only: other ids are opaque.
    if not (_UUID.fullmatch(found) and _UUID.fullmatch(session_id) and found.lower() == session_id.lower()):
        raise MismatchedResponseError


def is_json(response: httpx2.Response) -> bool:
    """Return whether the content type of a response is JSON."""
    content_type: str = response.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _decode_json(response: httpx2.Response) -> Any:
    if not response.content:
        raise ValueError("it is empty")
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"it cannot be read as JSON, {error}".rstrip(".")) from error


def _require_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("expected an array")  # noqa: TRY004 - the response is wrong, not an argument
    return value


def _decode_object(value: Any, result_type: Any) -> Any:
    """Decode an object; a deletion is confirmed by any object without an error, others need members of the API."""
    if not isinstance(value, dict):
        raise ValueError("expected an object")  # noqa: TRY004 - as above
    result = msgspec.convert(_known_members(value, result_type), result_type)
    if result_type is DeletedSession:
        if value.get("error") or value.get("errors"):
            raise ValueError("it contains an error")
    elif isinstance(result, CreatedSession):
        if not result.session_id.strip():
            raise ValueError("it has no sessionId")
    elif all(value.get(name) is None for name in _distinctive_members(result_type)):
        raise ValueError("it has no member of this API")
    return result


def _known_members(value: dict[str, Any], result_type: type[Result]) -> dict[str, Any]:
    """Prepare an object for ``msgspec.convert``: drop nulls, read times, collect the rest in ``extra``."""
    kinds = _members(result_type)
    members: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, item in value.items():
        kind = kinds.get(name)
        # PHP writes an empty object as an empty array.
        if kind is None:
            extra[name] = item
        elif kind is datetime:
            members[name] = parse_datetime(item) if isinstance(item, str) else None
            if members[name] is None and item is not None and item != "":
                extra[name] = item
        elif item is not None and not (item == [] and kind is dict):
            members[name] = item
    return {**members, "extra": extra}


@lru_cache
def _members(result_type: type[Result]) -> dict[str, type]:
    """Return the classes of a result's members by their wire names."""
    return {each.encode_name: _class_of(each.type) for each in fields(result_type) if each.name != "extra"}


@lru_cache
def _distinctive_members(result_type: type[Result]) -> frozenset[str]:
    """Return the members that only a response of this API has."""
    return frozenset(_members(result_type)) - _COMMON_MEMBERS


def _class_of(declared: Any) -> type:
    """Return the class of a declared type without None: ``datetime`` for ``datetime | None``."""
    if get_origin(declared) in (Union, UnionType):
        declared = get_args(declared)[0]
    kind: type = get_origin(declared) or declared
    return kind
