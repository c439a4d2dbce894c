"""Sending the same request to a server on each store, and comparing the responses."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from tests.http.callers import Caller, Response
from tests.http.raw_connection import ConnectionClosedError, RawConnection

_ID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIMESTAMP: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_CURSOR: Final = re.compile(rb"(?<=cursor=)[\w-]{22}")
_COMPARED: Final = ("content-type", "etag", "link", "allow", "cache-control", "www-authenticate", "idempotent-replayed")
_SERVER_ERROR: Final = 500


class ServerPair(Struct, frozen=True):
    """A client of each server, both for the same organisation."""

    sqlite: Caller
    postgres: Caller

    def __iter__(self) -> Any:
        """Iterate over both clients."""
        return iter((self.sqlite, self.postgres))

    def assert_same_response(self, send: Callable[[Caller], Response], context: object) -> tuple[Response, Response]:
        """Send a request to both servers, check that the responses are equal and not a 5xx, and return them."""
        responses = send(self.sqlite), send(self.postgres)
        seen = [comparable(response) for response in responses]
        assert seen[0] == seen[1], context
        assert responses[0].status < _SERVER_ERROR, context
        return responses


def comparable(response: Response) -> tuple[Any, ...]:
    """Return a response without what always differs: ids, timestamps and cursors."""
    headers = [(name, _mask((response.headers.get(name) or "").encode())) for name in _COMPARED]
    return response.status, headers, _mask(response.body)


def _mask(text: bytes) -> bytes:
    return _CURSOR.sub(b"CURSOR", _TIMESTAMP.sub(b"TIMESTAMP", _ID.sub(b"ID", text)))


def send_raw(api: Caller, sent: bytes) -> Response:
    """Send bytes over a new connection; a connection that is closed without a response has the status 0."""
    with RawConnection(api.port, seconds=5) as wire:
        wire.send(sent)
        try:
            return wire.receive()
        except (ConnectionClosedError, ConnectionError):
            return Response(0, {}, b"")


def canonical_json(value: Any) -> str:
    """Encode a value so that 1, 1.0, true and -0.0 differ."""
    return json.dumps(value, sort_keys=True)
