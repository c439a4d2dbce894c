"""Plans the API calls that create a session from a session."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

import msgspec

from sessionary import constants
from sessionary.cli.transfer.session_draft import SessionDraft
from sessionary.models import JsonObject
from sessionary.server.http.strict_json import count_values

_MESSAGES_BYTES_MAX: Final = 2 * 1024 * 1024
"""The size of the messages in one request; less than a server allows, to save memory: each is copied several times."""
_VALUES_MAX: Final = 30_000
"""The number of JSON values in the messages of one request; a server accepts about 100,000, metadata included."""

_encode: Final = msgspec.json.Encoder().encode


class PlannedCall(NamedTuple):
    """One API call."""

    operation: Literal["create", "update", "extend"]
    arguments: dict[str, Any]

    def encode(self, number: int) -> bytes:
        """Encode the call for its idempotency key; equal calls of one session differ by their number."""
        return _encode((number, *self))


def plan_calls(session: SessionDraft, size: int, expiration_minutes: int) -> list[PlannedCall]:
    """Plan the calls of a session: create it, append the remaining messages, then extend its expiry."""
    first, *rest = _batches(session.messages, size, session.metadata)
    create = {
        "user_id": session.user_id,
        "session_group": session.session_group,
        "metadata": session.metadata or None,
        "expiration_minutes": min(expiration_minutes, constants.EXPIRATION_MINUTES_MAX),
        "initial_messages": first or None,
        "title": session.title,
        "model": session.model,
    }
    if session.created_at is not None:
        create["created_at"] = session.created_at
    updates: list[dict[str, Any]] = [{"new_messages": batch} for batch in rest]
    last: dict[str, Any] = {"tokens_used": session.total_tokens} if session.total_tokens else {}
    last |= {"status": session.status} if session.status != "active" else {}
    if last:
        updates = [*updates[:-1], {**(updates[-1] if updates else {}), **last}]
    return [
        PlannedCall("create", create),
        *(PlannedCall("update", update) for update in updates),
        *_extensions(expiration_minutes - constants.EXPIRATION_MINUTES_MAX),
    ]


def digest_plan(calls: list[PlannedCall]) -> bytes:
    """Return a digest of all calls of a session."""
    digest = blake2b(digest_size=16)
    for number, call in enumerate(calls):
        digest.update(call.encode(number))
    return digest.digest()


def _extensions(minutes: int) -> Iterator[PlannedCall]:
    while minutes > 0:
        yield PlannedCall("extend", {"additional_minutes": min(minutes, constants.ADDITIONAL_MINUTES_MAX)})
        minutes -= constants.ADDITIONAL_MINUTES_MAX


def _batches(messages: list[JsonObject], size: int, metadata: JsonObject) -> Iterator[list[JsonObject]]:
    if len(messages) <= constants.MESSAGES_PER_REQUEST_MAX and size <= _VALUES_MAX:
        # Each value takes at least one byte.
        yield messages
        return
    batch: list[JsonObject] = []
    size_held = values = 0
    for number, message in enumerate(messages):
        encoded = _encode(message)
        length, count = len(encoded) + 1, count_values(encoded)
        if number == 0 and count > _VALUES_MAX and metadata:
            # Together with the metadata it may have too many values for one request.
            yield []
        is_full = size_held + length > _MESSAGES_BYTES_MAX or values + count > _VALUES_MAX
        if batch and (is_full or len(batch) == constants.MESSAGES_PER_REQUEST_MAX):
            yield batch
            batch, size_held, values = [], 0, 0
        batch.append(message)
        size_held += length
        values += count
    yield batch
