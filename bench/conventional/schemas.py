"""What crosses the wire: camelCase in requests and short responses, snake_case where a session is read."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Role = Literal["system", "user", "assistant", "tool", "developer"]
Status = Literal["active", "completed"]
Name = Field(min_length=1, max_length=256)


class Camel(BaseModel):
    """A shape whose members are written in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class NewMessage(BaseModel):
    """A message as a caller sends it; further members are stored."""

    model_config = ConfigDict(extra="allow")

    role: Role
    content: str | None = None


class CreateRequest(Camel):
    """A new session."""

    user_id: str = Name
    session_group: str | None = Field(default=None, min_length=1, max_length=256)
    title: str | None = Field(default=None, min_length=1, max_length=512)
    model: str | None = Field(default=None, min_length=1, max_length=256)
    metadata: dict[str, Any] | None = None
    expiration_minutes: int = Field(default=60, ge=5, le=1440)
    initial_messages: list[NewMessage] | None = Field(default=None, max_length=1000)


class UpdateRequest(Camel):
    """Messages to append, and what else changes."""

    new_messages: list[NewMessage] | None = Field(default=None, max_length=1000)
    tokens_used: int = Field(default=0, ge=0)
    status: Status | None = None
    metadata: dict[str, Any] | None = None
    title: str | None = Field(default=None, min_length=1, max_length=512)
    model: str | None = Field(default=None, min_length=1, max_length=256)


class ExtendRequest(Camel):
    """How much longer a session should live."""

    additional_minutes: int = Field(default=60, ge=1, le=1440)


class ListQuery(Camel):
    """Which sessions to list."""

    user_id: str | None = Field(default=None, min_length=1)
    session_group: str | None = Field(default=None, min_length=1)
    model: str | None = Field(default=None, min_length=1)
    status: Status | None = None
    limit: int = Field(default=50, ge=1, le=100)
    offset: int = Field(default=0, ge=0)


class Created(Camel):
    """The response to a create."""

    session_id: UUID
    status: Status
    expires_at: datetime
    created_at: datetime


class Updated(Camel):
    """The response to an update."""

    session_id: UUID
    status: Status
    total_messages: int
    total_tokens: int
    updated_at: datetime


class Extended(Camel):
    """The response to an extend."""

    session_id: UUID
    expires_at: datetime
    message: str


class Deleted(BaseModel):
    """The response to a delete."""

    message: str = "Session deleted successfully"


class Summary(BaseModel):
    """A session as a list shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str | None
    model: str | None
    user_id: str
    session_group: str | None
    status: Status
    total_messages: int
    total_tokens: int
    metadata: dict[str, Any] = Field(validation_alias="metadata_")
    created_at: datetime
    updated_at: datetime
    expires_at: datetime


class StoredMessage(BaseModel):
    """A message as it comes back, with the members that came with it."""

    model_config = ConfigDict(extra="allow")

    role: Role
    content: str | None
    created_at: datetime


class Whole(Summary):
    """A session with its messages."""

    messages: list[StoredMessage]
