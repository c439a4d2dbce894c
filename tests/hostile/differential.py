"""The same request to a server on each store: both must answer alike."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from tests.http.calling import Answer, Caller
from tests.http.wires import HungUpError, Wire

_ID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_INSTANT: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_CURSOR: Final = re.compile(rb"(?<=cursor=)[\w-]{22}")
_COMPARED: Final = ("content-type", "etag", "link", "allow", "cache-control", "www-authenticate", "idempotent-replayed")
_SERVER_ERROR: Final = 500


class Both(Struct, frozen=True):
    """A caller of each server, both for one organisation."""

    sqlite: Caller
    postgres: Caller

    def __iter__(self) -> Any:
        """Go through both."""
        return iter((self.sqlite, self.postgres))

    def alike(self, ask: Callable[[Caller], Answer], what: object) -> tuple[Answer, Answer]:
        """Ask each server, see that both answer alike and without a fault of theirs, and return the answers."""
        responses = ask(self.sqlite), ask(self.postgres)
        seen = [spelled(response) for response in responses]
        assert seen[0] == seen[1], what
        assert responses[0].status < _SERVER_ERROR, what
        return responses


def spelled(response: Answer) -> tuple[Any, ...]:
    """Spell an answer without what differs by its nature: ids, instants, cursors."""
    headers = [(name, _without_chance((response.headers.get(name) or "").encode())) for name in _COMPARED]
    return response.status, headers, _without_chance(response.body)


def _without_chance(text: bytes) -> bytes:
    return _CURSOR.sub(b"CURSOR", _INSTANT.sub(b"INSTANT", _ID.sub(b"ID", text)))


def on_a_wire(api: Caller, sent: bytes) -> Answer:
    """Send bytes over a connection of their own; hanging up without a word is answered by 0."""
    with Wire(api.port, seconds=5) as wire:
        wire.send(sent)
        try:
            return wire.receive()
        except (HungUpError, ConnectionError):
            return Answer(0, {}, b"")


def exactly(value: Any) -> str:
    """Spell a value so that 1, 1.0, true and -0.0 differ."""
    return json.dumps(value, sort_keys=True)
