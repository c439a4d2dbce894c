"""A record as the calls that make a session of it."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

import msgspec

from sessionary import constants
from sessionary.cli.transfer.record import Record
from sessionary.models import JsonObject

_MESSAGES_BYTES_MAX: Final = 2 * 1024 * 1024
"""What the messages of a request may take: less than a server allows, for on its way each is held several times."""
_VALUES_MAX: Final = 30_000
"""How many JSON values the messages of a request may hold: a server takes some 100,000, those of metadata included."""

_encode: Final = msgspec.json.Encoder().encode


class Step(NamedTuple):
    """One call."""

    operation: Literal["create", "update", "extend"]
    arguments: dict[str, Any]

    def encoded(self, number: int) -> bytes:
        """Encode it for its idempotency key; equal steps of one session differ by their number."""
        return _encode((number, *self))


def steps_of(record: Record, size: int, expiration_minutes: int) -> list[Step]:
    """Plan a session: created with what one request can carry, then filled up, then given its time."""
    first, *rest = _turns(record.messages, size, record.metadata)
    created = {
        "user_id": record.user_id,
        "session_group": record.session_group,
        "metadata": record.metadata or None,
        "expiration_minutes": min(expiration_minutes, constants.EXPIRATION_MINUTES_MAX),
        "initial_messages": first or None,
        "title": record.title,
        "model": record.model,
    }
    if record.created_at is not None:
        created["created_at"] = record.created_at
    updates: list[dict[str, Any]] = [{"new_messages": turn} for turn in rest]
    last: dict[str, Any] = {"tokens_used": record.total_tokens} if record.total_tokens else {}
    last |= {"status": record.status} if record.status != "active" else {}
    if last:
        updates = [*updates[:-1], {**(updates[-1] if updates else {}), **last}]
    return [
        Step("create", created),
        *(Step("update", update) for update in updates),
        *_extensions(expiration_minutes - constants.EXPIRATION_MINUTES_MAX),
    ]


def digest_of(steps: list[Step]) -> bytes:
    """Make a digest of all steps of a session."""
    digest = blake2b(digest_size=16)
    for number, step in enumerate(steps):
        digest.update(step.encoded(number))
    return digest.digest()


def _extensions(minutes: int) -> Iterator[Step]:
    while minutes > 0:
        yield Step("extend", {"additional_minutes": min(minutes, constants.ADDITIONAL_MINUTES_MAX)})
        minutes -= constants.ADDITIONAL_MINUTES_MAX


def _turns(messages: list[JsonObject], size: int, metadata: JsonObject) -> Iterator[list[JsonObject]]:
    if len(messages) <= constants.MESSAGES_PER_REQUEST_MAX and size <= _VALUES_MAX:
        # Each value takes a byte at least.
        yield messages
        return
    turn: list[JsonObject] = []
    held = values = 0
    for number, message in enumerate(messages):
        written = _encode(message)
        length, inside = len(written) + 1, values_at_most(written)
        if number == 0 and inside > _VALUES_MAX and metadata:
            # Together with the metadata it may be too much for one request.
            yield []
        is_full = held + length > _MESSAGES_BYTES_MAX or values + inside > _VALUES_MAX
        if turn and (is_full or len(turn) == constants.MESSAGES_PER_REQUEST_MAX):
            yield turn
            turn, held, values = [], 0, 0
        turn.append(message)
        held += length
        values += inside
    yield turn


def values_at_most(written: bytes) -> int:
    """Count the values in JSON, and what looks like one in its texts."""
    return 1 + len(written) - len(written.translate(None, b",[{"))
