"""The JSON bodies and query parameters of the API.

The server decodes them, the client encodes them, and the OpenAPI document is generated from them.

Create, update and extend use camelCase, list and get use snake_case: the official clients depend on it.
Timestamps are strings: RFC 3339 in UTC with milliseconds.
"""

from typing import Annotated, Any, Final, Literal, get_args

from msgspec import Meta, Struct

from sessionary import constants
from sessionary.errors import FieldError

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
ACCEPT_IDEMPOTENCY_KEY: Final = "Accept-Idempotency-Key"
"""The response header that declares support for idempotency keys; its value is ``?1``, which is true in RFC 9651.

It is named like ``Accept-Ranges`` and ``Accept-Patch``, which also declare what later requests may contain.
"""
IDEMPOTENT_REPLAYED: Final = "Idempotent-Replayed"
"""The response header, with the value ``true``, of a response that was given before."""

PURPOSE: Final = "Sessionary-Purpose"
"""The request header that says what a read is for; ``export`` with the first page writes an audit entry."""

PYTHON_END: Final = r"(?!\n)"
"""Follows ``$`` in a pattern, because Python's ``$`` also matches before a last newline."""
NO_CONTROLS: Final = r"^[^\u0000-\u001f\u007f-\u009f]+$" + PYTHON_END
"""The pattern of a text without control characters."""

Name = Annotated[str, Meta(min_length=1, max_length=constants.NAME_LENGTH_MAX, pattern=NO_CONTROLS)]
Organisation = Annotated[str, Meta(min_length=1, max_length=constants.ORGANISATION_LENGTH_MAX, pattern=NO_CONTROLS)]
Title = Annotated[str, Meta(min_length=1, max_length=constants.TITLE_LENGTH_MAX, pattern=NO_CONTROLS)]
Total = Annotated[int, Meta(ge=0, le=constants.INT32_MAX)]
Timestamp = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
        description="RFC 3339, UTC, milliseconds.",
        examples=["2026-11-22T22:09:00.123Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
SessionId = Annotated[str, Meta(description="UUIDv7, hyphenated, lower case.", extra_json_schema={"format": "uuid"})]
Status = Literal["active", "completed"]
Role = Literal["system", "user", "assistant", "tool", "developer"]
JsonObject = dict[str, Any]
Messages = Annotated[
    list[JsonObject],
    Meta(
        max_length=constants.MESSAGES_PER_REQUEST_MAX,
        description=(
            f"Appended in order; each takes at most {constants.MESSAGE_BYTES_MAX} bytes of JSON. The server sets their "
            "`created_at`, unless the token has the scope `sessions:import`: then a `created_at` that is sent is kept."
        ),
    ),
]
Metadata = Annotated[
    JsonObject,
    Meta(
        description=(
            f"Any JSON object, at most {constants.METADATA_BYTES_MAX} bytes of JSON after merging, without the NUL "
            "character. Merged by top-level key; null removes a key. An empty array counts as an empty object."
        )
    ),
]

_TITLE_SOURCES: Final = (
    "Where absent, a usable `metadata.title` is taken; a session that still has no title takes one from its first "
    "user message."
)
_MODEL_SOURCES: Final = "Where absent, a usable `metadata.model`, or else `metadata.modelId`, is taken."


class Message(Struct):
    """One message of a conversation; any further members are stored and returned as sent.

    ``content`` may be null or absent if there are ``tool_calls``. If ``type`` is a non-empty string, as in an item of a
    model's API or an event of a framework, ``role`` may be absent, and ``content`` may be anything or absent.
    """

    role: Role | None = None
    content: Any = None
    tool_calls: Any = None
    type: Any = None

    def __post_init__(self) -> None:
        """Check the members that depend on each other."""
        error = message_error(self.role, self.content, self.tool_calls, self.type)
        if error is not None:
            raise ValueError(f"{error.pointer.lstrip('/')} {error.detail}")


_ROLES: Final = get_args(Role)


def message_error(role: object, content: object, tool_calls: object, type_: object) -> FieldError | None:
    """Return what is wrong with a message that has these members, if anything; absent ones are None."""
    has_type = isinstance(type_, str) and bool(type_)
    if role is None:
        if not has_type:
            return FieldError("/role", "is required, unless the message has a type.")
    elif role not in _ROLES:
        return FieldError("/role", f"must be one of: {', '.join(_ROLES)}.")
    return None if has_type else _content_error(content, tool_calls)


def _content_error(content: object, tool_calls: object) -> FieldError | None:
    if content is None:
        if isinstance(tool_calls, list) and tool_calls:
            return None
        return FieldError("/content", "is required, unless the message has tool_calls or a type.")
    if isinstance(content, list):
        index = next((index for index, part in enumerate(content) if not isinstance(part, dict)), None)
        return None if index is None else FieldError(f"/content/{index}", "must be an object.")
    return None if isinstance(content, str) else FieldError("/content", "must be a string or an array of objects.")


class StoredMessage(Message, kw_only=True):
    """One message as it was sent, with the time at which the server stored it, or that an imported message has."""

    created_at: Timestamp


class CreateSession(Struct, rename="camel"):
    """The body of ``create_session``."""

    user_id: Annotated[Name, Meta(description="The user the session belongs to.")]
    session_group: Annotated[Name, Meta(description="The application, environment or tenant.")] | None = None
    metadata: Metadata | None = None
    expiration_minutes: (
        Annotated[
            int,
            Meta(
                ge=constants.EXPIRATION_MINUTES_MIN,
                le=constants.EXPIRATION_MINUTES_MAX,
                description="How long the session lives, unless it is extended.",
            ),
        ]
        | None
    ) = constants.EXPIRATION_MINUTES_DEFAULT
    initial_messages: Messages | None = None
    title: Annotated[Title, Meta(description=_TITLE_SOURCES)] | None = None
    model: Annotated[Name, Meta(description=_MODEL_SOURCES)] | None = None
    created_at: (
        Annotated[
            str,
            Meta(
                description=(
                    "When an imported session was created: RFC 3339, with any offset, from 1970 on and not in the "
                    "future. Needs the scope `sessions:import`."
                ),
                extra_json_schema={"format": "date-time"},
            ),
        ]
        | None
    ) = None


class UpdateSession(Struct, rename="camel"):
    """The body of ``update_session``; the whole update is one atomic step."""

    new_messages: Messages | None = None
    tokens_used: Annotated[int, Meta(ge=0, le=constants.INT32_MAX, description="Added to the total.")] | None = None
    status: Annotated[Status, Meta(description="A completed session may be set active again.")] | None = None
    metadata: Metadata | None = None
    title: Annotated[Title, Meta(description=_TITLE_SOURCES)] | None = None
    model: Annotated[Name, Meta(description=_MODEL_SOURCES)] | None = None


class ExtendSession(Struct, rename="camel"):
    """The body of ``extend_session``; it may be absent, empty or null."""

    additional_minutes: (
        Annotated[
            int,
            Meta(
                ge=constants.ADDITIONAL_MINUTES_MIN,
                le=constants.ADDITIONAL_MINUTES_MAX,
                description="Added to the session's expiry, not to the current time.",
            ),
        ]
        | None
    ) = constants.ADDITIONAL_MINUTES_DEFAULT


class CreatedSession(Struct, rename="camel"):
    """The response of ``create_session``."""

    session_id: SessionId
    status: Literal["active"]
    expires_at: Timestamp
    created_at: Timestamp


class UpdatedSession(Struct, rename="camel"):
    """The response of ``update_session``; the totals count the whole session."""

    session_id: SessionId
    status: Status
    total_messages: Total
    total_tokens: Total
    updated_at: Timestamp


class ExtendedSession(Struct, rename="camel"):
    """The response of ``extend_session``."""

    session_id: SessionId
    expires_at: Timestamp
    message: str


class DeletedSession(Struct, rename="camel"):
    """The response of ``delete_session``."""

    message: str


class Summary(Struct):
    """A session without its metadata and messages."""

    id: SessionId
    title: str | None
    model: str | None
    created_at: Timestamp
    updated_at: Timestamp
    user_id: str
    session_group: str | None
    status: Status
    total_messages: Total
    total_tokens: Total
    expires_at: Timestamp


class ListedSession(Summary):
    """One session of a list; lists never contain messages."""

    metadata: JsonObject


class Session(ListedSession, omit_defaults=True):
    """The response of ``get_session``: the session with its messages, in append order."""

    messages: list[JsonObject]
    messages_offset: (
        Annotated[Total, Meta(description="How many messages precede the first one returned; only with a window.")]
        | None
    ) = None


class Problem(Struct, omit_defaults=True):
    """The body of every error response (RFC 9457); ``message`` repeats ``detail`` for tools that read it there."""

    # The reason comes first: some clients show only the start of a body.
    detail: str
    type: str
    title: str
    status: int
    code: str
    message: str
    errors: list[FieldError] | None = None


class Health(Struct):
    """The response of a health check."""

    status: Literal["live", "ready"]


class ListParameters(Struct, rename="camel"):
    """The query parameters of ``list_sessions``; filters match exactly and are combined with *and*."""

    user_id: Annotated[Name, Meta(description="Only sessions of this user.")] | None = None
    session_group: Annotated[Name, Meta(description="Only sessions of this group.")] | None = None
    model: Annotated[Name, Meta(description="Only sessions with this model.")] | None = None
    status: Annotated[Status, Meta(description="Only sessions in this status.")] | None = None
    limit: Annotated[
        int, Meta(ge=1, le=constants.PAGE_LIMIT_MAX, description="How many sessions a page has at most.")
    ] = constants.PAGE_LIMIT_DEFAULT
    offset: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=constants.INT32_MAX,
                description="How many sessions to skip. A cursor is cheaper, and stable while sessions come and go.",
                # Not the field's own default: it must be known whether an offset was given together with a cursor.
                extra_json_schema={"default": 0},
            ),
        ]
        | None
    ) = None
    cursor: (
        Annotated[str, Meta(min_length=1, max_length=64, description="From a `Link` header; not together with offset.")]
        | None
    ) = None


class WindowParameters(Struct, rename="camel"):
    """The query parameters of ``get_session``: which messages to return; a limit alone returns the last ones."""

    messages_limit: (
        Annotated[
            int,
            Meta(
                ge=1, le=constants.WINDOW_LIMIT_MAX, description="How many messages; without an offset: the last ones."
            ),
        ]
        | None
    ) = None
    messages_offset: (
        Annotated[
            int, Meta(ge=0, le=constants.INT32_MAX, description="The number of the first message, counted from 0.")
        ]
        | None
    ) = None


class NoParameters(Struct):
    """The query parameters of an operation that has none."""
