"""Reading answers, of our server and of others.

A member that an answer leaves out, or sends as null, holds None where its type allows that and else the empty value
of its type: ``""``, ``0``, ``[]`` or ``{}``. So a member never holds what its type does not say, whatever the server.
An object that tells nothing of what was asked is no answer, such as ``{"error": "maintenance"}``.
"""

import contextlib
import re
from collections.abc import Callable
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import httpx2
import msgspec
from msgspec import Struct
from msgspec.structs import fields

from sessionary.errors import MismatchedResponseError, Response, ResponseValidationError, SessionaryError
from sessionary.models import CreatedSession, DeletedSession, ExtendedSession, UpdatedSession

Answer = TypeVar("Answer")

REQUEST_ID: Final = "X-Request-Id"
REQUEST_ID_PREFIX: Final = "sessionary-"
"""What the request ids begin with that this client makes."""
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

_NO_CONTENT: Final = 204
_MAY_BE_EMPTY: Final = (DeletedSession, ExtendedSession, UpdatedSession)
"""Of a change that a server confirms by status alone, it is enough to know that it was made."""
_SAID_BY_ANYONE: Final = frozenset({"status", "message", "title", "error", "errors"})
"""Members that any page or health check may have: they alone do not tell that an answer is one of this API."""
ANSWER_BYTES_MAX: Final = 128 * 1024 * 1024
"""More than the largest session takes with everything in it; counted after decompression."""


class Answered(NamedTuple, Generic[Answer]):
    """An answer, and the HTTP response it came in."""

    answer: Answer
    response: Response


def read_answer(response: httpx2.Response, kind: type[Answer]) -> Answer:
    """Read the body of a success; raises ResponseValidationError for what is no such answer."""
    (item,) = get_args(kind) or (None,)
    try:
        if response.status_code == _NO_CONTENT and kind in _MAY_BE_EMPTY:
            answer: Any = _struct({}, kind)
        elif item is None:
            answer = _telling(_decoded(response), kind)
        else:
            answer = [_telling(each, item) for each in _list(_decoded(response))]
    except ValueError as error:
        raise ResponseValidationError(f"The answer is not one of this API: {error}.") from error
    return answer  # type: ignore[no-any-return]  # it is made of what `kind` names


def read_body(response: httpx2.Response) -> None:
    """Read the body of a response from a blocking transport; raises ResponseValidationError if it is too large."""
    gathered = _Gathered()
    try:
        for part in response.iter_bytes():
            gathered.add(part)
    finally:
        response.close()
    gathered.give(response)


async def read_body_async(response: httpx2.Response) -> None:
    """Read the body of a response from an awaitable transport; raises ResponseValidationError if it is too large."""
    gathered = _Gathered()
    try:
        async with contextlib.aclosing(response.aiter_bytes()) as parts:
            async for part in parts:
                gathered.add(part)
    finally:
        await response.aclose()
    gathered.give(response)


class _Gathered:
    """The parts of a body that have come so far."""

    def __init__(self) -> None:
        self._parts: Final[list[bytes]] = []
        self._bytes = 0

    def add(self, part: bytes) -> None:
        self._bytes += len(part)
        if self._bytes > ANSWER_BYTES_MAX:
            raise ResponseValidationError(f"The answer is larger than {ANSWER_BYTES_MAX} bytes.")
        self._parts.append(part)

    def give(self, response: httpx2.Response) -> None:
        # What the response's own read() does, but for the bound.
        response._content = b"".join(self._parts)  # noqa: SLF001


def check_is_ours(response: httpx2.Response, request_id: str) -> None:
    """Refuse an answer to another request; raises MismatchedResponseError.

    Only an id that this client makes tells: a server or a proxy may answer with ids of its own making.
    """
    answered = response.headers.get(REQUEST_ID, "")
    if answered.startswith(REQUEST_ID_PREFIX) and answered != request_id:
        raise MismatchedResponseError


def stream_of(error: SessionaryError) -> Any:
    """Find the network stream that brought the response of an error, or None."""
    return error.response.extensions.get("network_stream") if isinstance(error.response, httpx2.Response) else None


def check_session(answer: Any, session_id: str | None) -> None:
    """Refuse an answer about another session than the one asked for; one that names none is taken."""
    found = getattr(answer, "id", "") or getattr(answer, "session_id", "")
    if session_id is None or not found or found == session_id:
        return
    # Only where both are UUIDs does case not matter: other ids are opaque.
    if not (_UUID.fullmatch(found) and _UUID.fullmatch(session_id) and found.lower() == session_id.lower()):
        raise MismatchedResponseError


def is_json(response: httpx2.Response) -> bool:
    """Tell whether a response says that its body is JSON."""
    content_type: str = response.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _decoded(response: httpx2.Response) -> Any:
    if not response.content:
        raise ValueError("it is empty")
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"it cannot be read as JSON, {error}".rstrip(".")) from error


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("expected an array")  # noqa: TRY004 - it is the answer that is wrong, not an argument
    return value


def _telling(value: Any, kind: Any) -> Any:
    """Read an object that tells what was asked for; a deletion is confirmed by any that names no error."""
    answer = _struct(value, kind)
    if kind is DeletedSession:
        if value.get("error") or value.get("errors"):
            raise ValueError("it names an error")
    elif kind is CreatedSession:
        if not answer.session_id.strip():
            raise ValueError("it has no sessionId")
    elif all(value.get(name) is None for name in _own_names(kind)):
        raise ValueError("it has no member of this API")
    return answer


def _struct(value: Any, kind: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("expected an object")  # noqa: TRY004 - as above
    return kind(**{member.name: member.of(value.get(member.wire_name)) for member in _members(kind)})


class _Member(NamedTuple):
    """One member of an answer: its names here and on the wire, its type and what it holds when there is none."""

    name: str
    wire_name: str
    kind: type
    nothing: Callable[[], Any]

    def of(self, value: Any) -> Any:
        # PHP writes an empty object as an empty array.
        if value is None or (value == [] and self.kind is dict):
            return self.nothing()
        if not isinstance(value, self.kind) or isinstance(value, bool):
            raise ValueError(f"expected {self.kind.__name__} as {self.wire_name}")  # noqa: TRY004 - as above
        return value


@lru_cache
def _members(kind: type[Struct]) -> tuple[_Member, ...]:
    return tuple(_Member(field.name, field.encode_name, *_plain(field.type)) for field in fields(kind))


@lru_cache
def _own_names(kind: type[Struct]) -> frozenset[str]:
    """Name the members that only an answer of this API has."""
    return frozenset(member.wire_name for member in _members(kind)) - _SAID_BY_ANYONE


def _plain(declared: Any) -> tuple[type, Callable[[], Any]]:
    """Reduce a declared type to the class of its values and to what stands for none of them."""
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is Annotated:
        return _plain(arguments[0])
    if origin in (Union, UnionType):
        return _plain(next(one for one in arguments if one is not NoneType))[0], NoneType
    if origin is Literal:
        return str, str
    kind: type = origin or declared
    return kind, kind
