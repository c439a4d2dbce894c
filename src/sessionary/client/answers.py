"""Reading answers, of our server and of others.

A member that an answer leaves out, or sends as null, holds None where its type allows that and else the empty value
of its type: ``""``, ``0``, ``[]`` or ``{}``. So a member never holds what its type does not say, whatever the server.
"""

from collections.abc import Callable
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import httpx
import msgspec
from msgspec import Struct
from msgspec.structs import fields

from sessionary.errors import BadResponse

Answer = TypeVar("Answer")

_NO_CONTENT: Final = 204


class Answered(NamedTuple, Generic[Answer]):
    """An answer, and the HTTP response it came in."""

    answer: Answer
    response: httpx.Response


def read_answer(response: httpx.Response, kind: type[Answer]) -> Answer:
    """Read the body of a success; raises BadResponse for what is no such answer."""
    (item,) = get_args(kind) or (None,)
    try:
        value = _decoded(response, [] if item else {})
        answer: Any = _struct(value, kind) if item is None else [_struct(each, item) for each in _list(value)]
    except ValueError as error:
        raise BadResponse(f"The answer is not one of this API: {error}.") from error
    return answer  # type: ignore[no-any-return]  # it is made of what `kind` names


def is_json(response: httpx.Response) -> bool:
    """Tell whether a response says that its body is JSON."""
    content_type: str = response.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _decoded(response: httpx.Response, nothing: Any) -> Any:
    if response.status_code == _NO_CONTENT:
        return nothing
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
        # PHP spells an empty object as an empty array.
        if value is None or (value == [] and self.kind is dict):
            return self.nothing()
        if not isinstance(value, self.kind) or isinstance(value, bool):
            raise ValueError(f"expected {self.kind.__name__} as {self.wire_name}")  # noqa: TRY004 - as above
        return value


@lru_cache
def _members(kind: type[Struct]) -> tuple[_Member, ...]:
    return tuple(_Member(field.name, field.encode_name, *_plain(field.type)) for field in fields(kind))


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
