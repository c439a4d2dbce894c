"""Every shape that crosses the wire.

The server decodes them, the client encodes them, the OpenAPI document is read off them.

Create, update and extend speak camelCase, list and get speak snake_case: the official clients depend on it.
Instants are RFC 3339 in UTC with milliseconds, as text.
"""

from typing import Annotated, Any, Final, Literal, get_args

from msgspec import Meta, Struct

from sessionary import constants

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
ACCEPT_IDEMPOTENCY_KEY: Final = "Accept-Idempotency-Key"
"""The header in which a server declares that it honours keys: its value is then ``?1``, true as RFC 9651 spells it.

Named after ``Accept-Ranges``, ``Accept-Patch`` and their kin, with which a server says what later requests may carry.
"""
IDEMPOTENT_REPLAYED: Final = "Idempotent-Replayed"
"""The header of an answer, then ``true``, that its idempotency key was given before."""

PURPOSE: Final = "Sessionary-Purpose"
"""The header in which a caller says what its reads are for: ``export`` at the first page has the export noted."""

PYTHON_END: Final = r"(?!\n)"
"""What makes ``$`` the very end: Python's also matches before a last newline."""
NO_CONTROLS: Final = r"^[^\u0000-\u001f\u007f-\u009f]+$" + PYTHON_END
"""Text without control characters."""

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
            f"Appended in order; each takes at most {constants.MESSAGE_BYTES_MAX} bytes of JSON. Their `created_at` is "
            "the server's, unless the token has the scope `sessions:import`: then each keeps the one that it brings."
        ),
    ),
]
Metadata = Annotated[
    JsonObject,
    Meta(
        description=(
            f"Any JSON object, at most {constants.METADATA_BYTES_MAX} bytes of JSON after merging, without the NUL "
            "character. Merged by top-level key; null removes a key. An empty array is taken as an empty object."
        )
    ),
]

_TITLE_SOURCES: Final = (
    "Where absent, a usable `metadata.title` counts; a session still without a title takes one from its first user "
    "message."
)
_MODEL_SOURCES: Final = "Where absent, a usable `metadata.model`, or else `metadata.modelId`, counts."


class Message(Struct):
    """One message of a conversation; any further members are kept and returned as sent.

    ``content`` may be null or absent only beside a non-empty ``tool_calls``. Beside a non-empty text as ``type``, as an
    item of a model's API or an event of a framework has it, ``role`` may be absent, and ``content`` be anything or
    absent.
    """

    role: Role | None = None
    content: Any = None
    tool_calls: Any = None
    type: Any = None

    def __post_init__(self) -> None:
        """Check what the members say of each other."""
        fault = message_error(self.role, self.content, self.tool_calls, self.type)
        if fault is not None:
            raise ValueError(" ".join(fault).lstrip("/"))


_ROLES: Final = get_args(Role)


def message_error(role: object, content: object, tool_calls: object, kind: object) -> tuple[str, str] | None:
    """Say what is wrong with a message of these members, None for those that are absent: where, and what."""
    typed = isinstance(kind, str) and bool(kind)
    if role is None:
        if not typed:
            return "/role", "is required, unless the message has a type."
    elif role not in _ROLES:
        return "/role", f"must be one of: {', '.join(_ROLES)}."
    return None if typed else _fault_in_content(content, tool_calls)


def _fault_in_content(content: object, tool_calls: object) -> tuple[str, str] | None:
    if content is None:
        if isinstance(tool_calls, list) and tool_calls:
            return None
        return "/content", "is required, unless the message has tool_calls or a type."
    if isinstance(content, list):
        odd = next((number for number, part in enumerate(content) if not isinstance(part, dict)), None)
        return None if odd is None else (f"/content/{odd}", "must be an object.")
    return None if isinstance(content, str) else ("/content", "must be a string or an array of objects.")


class StoredMessage(Message, kw_only=True):
    """One message as it was sent, with the instant the server took it, or the one an imported message brought."""

    created_at: Timestamp


class CreateSession(Struct, rename="camel"):
    """What ``create_session`` is asked."""

    user_id: Annotated[Name, Meta(description="Who talks.")]
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
                    "When a session that is imported began: RFC 3339, with any offset, from 1970 on and not in the "
                    "future. Needs the scope `sessions:import`."
                ),
                extra_json_schema={"format": "date-time"},
            ),
        ]
        | None
    ) = None


class UpdateSession(Struct, rename="camel"):
    """What ``update_session`` is asked; the whole of it is one atomic step."""

    new_messages: Messages | None = None
    tokens_used: Annotated[int, Meta(ge=0, le=constants.INT32_MAX, description="Added to the total.")] | None = None
    status: Annotated[Status, Meta(description="A completed session may be set active again.")] | None = None
    metadata: Metadata | None = None
    title: Annotated[Title, Meta(description=_TITLE_SOURCES)] | None = None
    model: Annotated[Name, Meta(description=_MODEL_SOURCES)] | None = None


class ExtendSession(Struct, rename="camel"):
    """What ``extend_session`` is asked; the body may be absent, empty or null."""

    additional_minutes: (
        Annotated[
            int,
            Meta(
                ge=constants.ADDITIONAL_MINUTES_MIN,
                le=constants.ADDITIONAL_MINUTES_MAX,
                description="Added to the session's expiry, not to the clock.",
            ),
        ]
        | None
    ) = constants.ADDITIONAL_MINUTES_DEFAULT


class CreatedSession(Struct, rename="camel"):
    """What ``create_session`` answers."""

    session_id: SessionId
    status: Literal["active"]
    expires_at: Timestamp
    created_at: Timestamp


class UpdatedSession(Struct, rename="camel"):
    """What ``update_session`` answers; the totals count the whole session."""

    session_id: SessionId
    status: Status
    total_messages: Total
    total_tokens: Total
    updated_at: Timestamp


class ExtendedSession(Struct, rename="camel"):
    """What ``extend_session`` answers."""

    session_id: SessionId
    expires_at: Timestamp
    message: str


class DeletedSession(Struct, rename="camel"):
    """What ``delete_session`` answers."""

    message: str


class Summary(Struct):
    """What a session is, but for its metadata and messages."""

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
    """One session of a list; a list never carries messages."""

    metadata: JsonObject


class Session(ListedSession, omit_defaults=True):
    """What ``get_session`` answers: the session with its messages, in append order."""

    messages: list[JsonObject]
    messages_offset: (
        Annotated[Total, Meta(description="How many messages precede the first one returned; only with a window.")]
        | None
    ) = None


class FaultReport(Struct):
    """One thing that is wrong with a request."""

    pointer: str
    detail: str


class Problem(Struct, omit_defaults=True):
    """Every failure (RFC 9457); ``message`` repeats ``detail`` for tools that read it there."""

    # The reason first: some clients show no more than the beginning of a body.
    detail: str
    type: str
    title: str
    status: int
    code: str
    message: str
    errors: list[FaultReport] | None = None


class Health(Struct):
    """The answer of a health check."""

    status: Literal["live", "ready"]


class ListParameters(Struct, rename="camel"):
    """How ``list_sessions`` is narrowed and paged; filters match exactly and are combined with and."""

    user_id: Annotated[Name, Meta(description="Only sessions of this user.")] | None = None
    session_group: Annotated[Name, Meta(description="Only sessions of this group.")] | None = None
    model: Annotated[Name, Meta(description="Only sessions with this model.")] | None = None
    status: Annotated[Status, Meta(description="Only sessions in this status.")] | None = None
    limit: Annotated[int, Meta(ge=1, le=constants.PAGE_LIMIT_MAX, description="How many sessions a page holds.")] = (
        constants.PAGE_LIMIT_DEFAULT
    )
    offset: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=constants.INT32_MAX,
                description="How many sessions to skip. A cursor is cheaper, and steady while sessions come and go.",
                # Not the field's own: it must be known whether an offset was given beside a cursor.
                extra_json_schema={"default": 0},
            ),
        ]
        | None
    ) = None
    cursor: (
        Annotated[str, Meta(min_length=1, max_length=64, description="From a Link; not together with offset.")] | None
    ) = None


class WindowParameters(Struct, rename="camel"):
    """Which messages ``get_session`` returns: a limit alone means the last ones."""

    messages_limit: (
        Annotated[
            int, Meta(ge=1, le=constants.WINDOW_LIMIT_MAX, description="How many messages; alone: the last ones.")
        ]
        | None
    ) = None
    messages_offset: (
        Annotated[int, Meta(ge=0, le=constants.INT32_MAX, description="The number of the first message, from 0.")]
        | None
    ) = None


class NoParameters(Struct):
    """What an operation without query parameters reads of a query string."""
