"""Each operation as data: what to send and what comes back. The clients only carry it there and back."""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from msgspec import Struct

from sessionary import constants
from sessionary.client.arguments import check_names
from sessionary.client.writing import body_of, query_of, segment
from sessionary.models import (
    CreatedSession,
    CreateSession,
    DeletedSession,
    ExtendedSession,
    ExtendSession,
    ListedSession,
    ListParameters,
    Session,
    Status,
    UpdatedSession,
    UpdateSession,
    WindowParameters,
)

Answer = TypeVar("Answer")

_REPEATABLE = frozenset({"GET", "DELETE"})


class CallOptions(TypedDict, total=False):
    """What every call takes besides its own arguments, and what else the client says of itself for this call."""

    organisation: str
    """Whose sessions, instead of the client's organisation."""
    token: str
    """The bearer token, instead of the client's."""
    timeout: float | None
    """Seconds for the whole call, retries and pauses included; None for as long as it takes."""
    headers: Mapping[str, str]
    """More headers; they win over all others."""


class Call(Struct, Generic[Answer], frozen=True, kw_only=True):
    """One call of an operation, before anything is sent."""

    operation: str
    method: str
    path: str
    answers: type[Answer]
    options: CallOptions
    query: str = ""
    body: bytes | None = None
    session_id: str | None = None
    """The session that is asked for, which an answer must not differ from; None where none is named."""

    def __post_init__(self) -> None:
        """Refuse a mistyped argument, which the options would swallow; raises TypeError."""
        check_names(self.options, CallOptions, self.operation)

    @property
    def repeatable(self) -> bool:
        """Whether doing it twice leaves what doing it once does."""
        return self.method in _REPEATABLE

    def __repr__(self) -> str:
        # Neither the token among the options nor the body may turn up in a traceback.
        return f"<Call {self.operation} {self.path}>"


def create_session(  # noqa: PLR0913 - all that the operation takes
    user_id: str,
    *,
    session_group: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    expiration_minutes: int | None = constants.EXPIRATION_MINUTES_DEFAULT,
    initial_messages: Iterable[Mapping[str, Any]] | None = None,
    title: str | None = None,
    model: str | None = None,
    created_at: str | None = None,
    **options: Unpack[CallOptions],
) -> Call[CreatedSession]:
    """Begin a conversation, which lives for 5 to 1,440 minutes.

    The vendor knows neither ``title`` nor ``model``; both may also stand in the metadata. ``created_at`` is for
    importing: when the conversation began (RFC 3339), for a token that has the scope ``sessions:import``.
    """
    request = CreateSession(
        user_id=user_id,
        session_group=session_group,
        metadata=_object(metadata),
        expiration_minutes=expiration_minutes,
        initial_messages=_messages(initial_messages),
        title=title,
        model=model,
        created_at=created_at,
    )
    return Call(
        operation="create_session",
        method="POST",
        path="",
        answers=CreatedSession,
        body=body_of(request),
        options=options,
    )


def list_sessions(  # noqa: PLR0913 - all that the operation takes
    *,
    user_id: str | None = None,
    session_group: str | None = None,
    model: str | None = None,
    limit: int = constants.PAGE_LIMIT_DEFAULT,
    offset: int | None = None,
    status: Status | None = None,
    cursor: str | None = None,
    **options: Unpack[CallOptions],
) -> Call[list[ListedSession]]:
    """Read one page of at most 100 sessions, the newest first; filters match exactly and are combined with and.

    The vendor knows neither ``status`` nor ``cursor``.
    """
    parameters = ListParameters(
        user_id=user_id,
        session_group=session_group,
        model=model,
        status=status,
        limit=limit,
        offset=offset,
        cursor=cursor,
    )
    return listing(query_of(parameters), options)


def listing(query: str, options: CallOptions) -> Call[list[ListedSession]]:
    """Read the page that a query string names, such as a link's."""
    return Call(
        operation="list_sessions",
        method="GET",
        path="",
        answers=list[ListedSession],
        query=query,
        options=options,
    )


def get_session(
    session_id: str,
    *,
    messages_limit: int | None = None,
    messages_offset: int | None = None,
    **options: Unpack[CallOptions],
) -> Call[Session]:
    """Read a session with its messages, or a window of them: a limit alone means the last ones.

    The vendor knows no windows and sends all messages.
    """
    return Call(
        operation="get_session",
        method="GET",
        path=_session(session_id),
        session_id=session_id,
        answers=Session,
        query=query_of(WindowParameters(messages_limit=messages_limit, messages_offset=messages_offset)),
        options=options,
    )


def update_session(  # noqa: PLR0913 - all that the operation takes
    session_id: str,
    *,
    new_messages: Iterable[Mapping[str, Any]] | None = None,
    tokens_used: int | None = None,
    status: Status | None = None,
    metadata: Mapping[str, Any] | None = None,
    title: str | None = None,
    model: str | None = None,
    **options: Unpack[CallOptions],
) -> Call[UpdatedSession]:
    """Append messages, add to the token total, merge metadata, set the status: the whole of it is one atomic step.

    The vendor knows neither ``title`` nor ``model``.
    """
    request = UpdateSession(
        new_messages=_messages(new_messages),
        tokens_used=tokens_used,
        status=status,
        metadata=_object(metadata),
        title=title,
        model=model,
    )
    return Call(
        operation="update_session",
        method="PUT",
        path=_session(session_id),
        session_id=session_id,
        answers=UpdatedSession,
        body=body_of(request),
        options=options,
    )


def extend_session(
    session_id: str,
    additional_minutes: int | None = constants.ADDITIONAL_MINUTES_DEFAULT,
    **options: Unpack[CallOptions],
) -> Call[ExtendedSession]:
    """Let a session live for 1 to 1,440 minutes more, counted from its expiry."""
    return Call(
        operation="extend_session",
        method="PUT",
        path=f"{_session(session_id)}/extend",
        session_id=session_id,
        answers=ExtendedSession,
        body=body_of(ExtendSession(additional_minutes=additional_minutes)),
        options=options,
    )


def delete_session(session_id: str, **options: Unpack[CallOptions]) -> Call[DeletedSession]:
    """End a session and remove it with its messages."""
    return Call(
        operation="delete_session",
        method="DELETE",
        path=_session(session_id),
        session_id=session_id,
        answers=DeletedSession,
        options=options,
    )


def _session(session_id: str) -> str:
    return f"/{segment(session_id, 'session id')}"


def _messages(messages: Iterable[Mapping[str, Any]] | None) -> Any:
    if isinstance(messages, Iterable) and not isinstance(messages, str | bytes | Mapping):
        return [_object(message) for message in messages]
    return messages


def _object(members: Mapping[str, Any] | None) -> Any:
    # What is no object, against all types, goes as it is: the server says where and why it is wrong.
    return dict(members) if isinstance(members, Mapping) else members
