"""The HTTP request of each operation, as data: both clients send these."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from msgspec import Struct, field

from sessionary import constants
from sessionary.client.encoding import encode_body, encode_path_segment, encode_query
from sessionary.client.results import (
    CreatedSession,
    DeletedSession,
    ExtendedSession,
    ListedSession,
    Session,
    UpdatedSession,
    format_datetime,
)
from sessionary.client.validation import condition_headers, reject_unknown_names
from sessionary.errors import InvalidArgumentError
from sessionary.models import (
    CreateSession,
    ExtendSession,
    ListParameters,
    Status,
    UpdateSession,
    WindowParameters,
)

T = TypeVar("T")

_REPEATABLE_METHODS = frozenset({"GET", "DELETE"})


class CallOptions(TypedDict, total=False):
    """Options that every call takes besides the arguments of its operation."""

    organisation: str
    """Whose sessions, instead of the client's organisation."""
    token: str
    """The bearer token, instead of the client's."""
    timeout: float | None
    """Seconds for the whole call, retries and pauses included; None for no limit."""
    headers: Mapping[str, str]
    """More headers; they win over all others."""


class RequestSpec(Struct, Generic[T], frozen=True, kw_only=True):
    """One request of an operation, before it is sent."""

    operation: str
    method: str
    path: str
    result_type: type[T]
    options: CallOptions
    query: str = ""
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    session_id: str | None = None
    """The requested session, for comparison with the response; None if the request names none."""

    def __post_init__(self) -> None:
        """Refuse mistyped keyword arguments, which end up among the options; raises TypeError."""
        reject_unknown_names(self.options, CallOptions, self.operation)

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice has the same effect as sending it once."""
        return self.method in _REPEATABLE_METHODS

    def __repr__(self) -> str:
        # Tracebacks must show neither the token among the options nor the body.
        return f"<RequestSpec {self.operation}>"


def create_session(  # noqa: PLR0913 - all arguments of the operation
    user_id: str,
    *,
    session_group: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    expiration_minutes: int | None = constants.EXPIRATION_MINUTES_DEFAULT,
    initial_messages: Iterable[Mapping[str, Any]] | None = None,
    title: str | None = None,
    model: str | None = None,
    created_at: datetime | str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[CallOptions],
) -> RequestSpec[CreatedSession]:
    """Describe the request of ``create_session``."""
    request = CreateSession(
        user_id=user_id,
        session_group=session_group,
        metadata=_object(metadata),
        expiration_minutes=expiration_minutes,
        initial_messages=_message_list(initial_messages),
        title=title,
        model=model,
        created_at=_timestamp(created_at),
    )
    return RequestSpec(
        operation="create_session",
        method="POST",
        path="",
        result_type=CreatedSession,
        body=encode_body(request),
        headers=condition_headers(idempotency_key=idempotency_key),
        options=options,
    )


def list_sessions(  # noqa: PLR0913 - all arguments of the operation
    *,
    user_id: str | None = None,
    session_group: str | None = None,
    model: str | None = None,
    limit: int = constants.PAGE_LIMIT_DEFAULT,
    offset: int | None = None,
    status: Status | None = None,
    cursor: str | None = None,
    **options: Unpack[CallOptions],
) -> RequestSpec[list[ListedSession]]:
    """Describe the request of ``list_sessions``."""
    parameters = ListParameters(
        user_id=user_id,
        session_group=session_group,
        model=model,
        status=status,
        limit=limit,
        offset=offset,
        cursor=cursor,
    )
    return RequestSpec(
        operation="list_sessions",
        method="GET",
        path="",
        result_type=list[ListedSession],
        query=encode_query(parameters),
        options=options,
    )


def get_session(
    session_id: str,
    *,
    messages_limit: int | None = None,
    messages_offset: int | None = None,
    if_none_match: str | None = None,
    **options: Unpack[CallOptions],
) -> RequestSpec[Session]:
    """Describe the request of ``get_session``."""
    return RequestSpec(
        operation="get_session",
        method="GET",
        path=_session_path(session_id),
        session_id=session_id,
        result_type=Session,
        query=encode_query(WindowParameters(messages_limit=messages_limit, messages_offset=messages_offset)),
        headers=condition_headers(if_none_match=if_none_match),
        options=options,
    )


def update_session(  # noqa: PLR0913 - all arguments of the operation
    session_id: str,
    *,
    new_messages: Iterable[Mapping[str, Any]] | None = None,
    tokens_used: int | None = None,
    status: Status | None = None,
    metadata: Mapping[str, Any] | None = None,
    title: str | None = None,
    model: str | None = None,
    idempotency_key: str | None = None,
    if_match: str | None = None,
    **options: Unpack[CallOptions],
) -> RequestSpec[UpdatedSession]:
    """Describe the request of ``update_session``."""
    request = UpdateSession(
        new_messages=_message_list(new_messages),
        tokens_used=tokens_used,
        status=status,
        metadata=_object(metadata),
        title=title,
        model=model,
    )
    return RequestSpec(
        operation="update_session",
        method="PUT",
        path=_session_path(session_id),
        session_id=session_id,
        result_type=UpdatedSession,
        body=encode_body(request),
        headers=condition_headers(idempotency_key=idempotency_key, if_match=if_match),
        options=options,
    )


def extend_session(
    session_id: str,
    additional_minutes: int | None = constants.ADDITIONAL_MINUTES_DEFAULT,
    *,
    idempotency_key: str | None = None,
    if_match: str | None = None,
    **options: Unpack[CallOptions],
) -> RequestSpec[ExtendedSession]:
    """Describe the request of ``extend_session``."""
    return RequestSpec(
        operation="extend_session",
        method="PUT",
        path=f"{_session_path(session_id)}/extend",
        session_id=session_id,
        result_type=ExtendedSession,
        body=encode_body(ExtendSession(additional_minutes=additional_minutes)),
        headers=condition_headers(idempotency_key=idempotency_key, if_match=if_match),
        options=options,
    )


def delete_session(
    session_id: str,
    *,
    idempotency_key: str | None = None,
    if_match: str | None = None,
    **options: Unpack[CallOptions],
) -> RequestSpec[DeletedSession]:
    """Describe the request of ``delete_session``."""
    return RequestSpec(
        operation="delete_session",
        method="DELETE",
        path=_session_path(session_id),
        session_id=session_id,
        result_type=DeletedSession,
        headers=condition_headers(idempotency_key=idempotency_key, if_match=if_match),
        options=options,
    )


def _session_path(session_id: str) -> str:
    return f"/{encode_path_segment(session_id, 'session id')}"


def _message_list(messages: Iterable[Mapping[str, Any]] | None) -> Any:
    if isinstance(messages, Iterable) and not isinstance(messages, str | bytes | Mapping):
        return [_object(message) for message in messages]
    return messages


def _object(members: Mapping[str, Any] | None) -> Any:
    # A value of the wrong type is sent as it is: the server's error says where and why it is wrong.
    return dict(members) if isinstance(members, Mapping) else members


def _timestamp(time: datetime | str | None) -> str | None:
    if not isinstance(time, datetime):
        return time
    if time.tzinfo is None:
        raise InvalidArgumentError("created_at must have a time zone.")
    try:
        return format_datetime(time)
    except OverflowError as error:
        raise InvalidArgumentError(f"created_at cannot be written in UTC: {error}.") from error
