"""A server as the vendor documents it: only the documented members and parameters.

Its ids are no UUIDs, it ignores unknown members, and its errors have another format. With ``honours_keys`` it supports
idempotency keys like our server: it declares the support, and repeats the response without a second effect.
"""

import json
import re
import ssl
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

from sessionary.models import ACCEPT_IDEMPOTENCY_KEY, IDEMPOTENCY_KEY

TOKEN: Final = "a.vendors.jwt"
_PATH: Final = re.compile(r"/api/v3/organizations/([^/]+)/ai/sessions(?:/([^/]+))?(/extend)?")


class Seen(Struct, frozen=True):
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


class RefusedError(Exception):
    """An error in the vendor's format."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class VendorServer:
    """Listens on a free port of 127.0.0.1; use it with `with`."""

    def __init__(self, *, honours_keys: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.honours_keys = honours_keys
        self.seen: list[Seen] = []
        self.accepted = 0
        """The number of connections so far."""
        self.sessions: dict[tuple[str, str], dict[str, Any]] = {}
        self.responses_by_key: dict[str, tuple[int, Any]] = {}
        self.lock = threading.Lock()
        verbs = dict.fromkeys(("do_GET", "do_POST", "do_PUT", "do_DELETE", "do_PATCH", "do_OPTIONS"), _Handler.respond)
        handler = type("Handler", (_Handler,), {"vendor": self, **verbs})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def base_url(self) -> str:
        """The server's origin."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def writes(self) -> list[Seen]:
        """The requests that would change something each time they are carried out."""
        return [request for request in self.seen if request.method in {"POST", "PUT"}]

    def respond(self, request: Seen) -> tuple[int, Any]:
        """Carry out a request, or return the stored response for its key."""
        key = request.headers.get(IDEMPOTENCY_KEY.lower()) if self.honours_keys else None
        with self.lock:
            self.seen.append(request)
            if key is None:
                return self._respond_or_refuse(request)
            if key not in self.responses_by_key:
                self.responses_by_key[key] = self._respond_or_refuse(request)
            return self.responses_by_key[key]

    def _respond_or_refuse(self, request: Seen) -> tuple[int, Any]:
        try:
            return self._carry_out(request)
        except RefusedError as refused:
            return refused.status, {"error": True, "message": str(refused)}

    def _carry_out(self, request: Seen) -> tuple[int, Any]:
        found = _PATH.fullmatch(request.path.partition("?")[0])
        if found is None:
            raise RefusedError(404, "Not found")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            raise RefusedError(401, "Unauthorized")
        organisation, session_id = unquote(found[1]), unquote(found[2] or "")
        match request.method, bool(found[2]), bool(found[3]):
            case "POST", False, False:
                return 201, self._create(organisation, request.json)
            case "GET", False, False:
                return 200, self._list(organisation, parse_qs(urlsplit(request.path).query))
            case "GET", True, False:
                return 200, _members(self._find(organisation, session_id), "id title model messages created_at")
            case "PUT", True, False:
                return 200, self._update(self._find(organisation, session_id), request.json)
            case "PUT", True, True:
                return 200, self._extend(self._find(organisation, session_id), request.json)
            case "DELETE", True, False:
                self._find(organisation, session_id)
                del self.sessions[organisation, session_id]
                return 200, {"message": "Session deleted"}
            case _:
                raise RefusedError(405, "Method not allowed")

    def _find(self, organisation: str, session_id: str) -> dict[str, Any]:
        session = self.sessions.get((organisation, session_id))
        if session is None:
            raise RefusedError(404, "Session not found")
        return session

    def _create(self, organisation: str, given: dict[str, Any]) -> Any:
        minutes = given.get("expirationMinutes", 60)
        if not isinstance(given.get("userId"), str) or not 5 <= minutes <= 1440:
            raise RefusedError(400, "Invalid request")
        now = datetime.now(UTC)
        session = {
            "id": f"session/{len(self.sessions)}?ä",
            "title": None,
            "model": None,
            "messages": given.get("initialMessages", []),
            "created_at": _format_time(now),
            "updated_at": _format_time(now),
            "userId": given["userId"],
            "sessionGroup": given.get("sessionGroup"),
            "tokens": 0,
            "status": "active",
            "expires": now + timedelta(minutes=minutes),
        }
        self.sessions[organisation, session["id"]] = session
        return {
            "sessionId": session["id"],
            "status": "active",
            "expiresAt": _format_time(session["expires"]),
            "createdAt": session["created_at"],
        }

    def _list(self, organisation: str, given: dict[str, list[str]]) -> Any:
        limit, offset = int(given.get("limit", ["50"])[0]), int(given.get("offset", ["0"])[0])
        filters = {name: given[name][0] for name in ("userId", "sessionGroup", "model") if name in given}
        found = [
            _members(session, "id title model created_at updated_at")
            for (whose, _), session in reversed(self.sessions.items())
            if whose == organisation and all(session[name] == value for name, value in filters.items())
        ]
        return found[offset : offset + min(limit, 100)]

    def _update(self, session: dict[str, Any], given: dict[str, Any]) -> Any:
        session["messages"].extend(given.get("newMessages", []))
        session["tokens"] += given.get("tokensUsed", 0)
        session["status"] = given.get("status", session["status"])
        session["updated_at"] = _format_time(datetime.now(UTC))
        return {
            "sessionId": session["id"],
            "status": session["status"],
            "totalMessages": len(session["messages"]),
            "totalTokens": session["tokens"],
            "updatedAt": session["updated_at"],
        }

    def _extend(self, session: dict[str, Any], given: dict[str, Any]) -> Any:
        minutes = given.get("additionalMinutes", 60)
        session["expires"] += timedelta(minutes=minutes)
        return {
            "sessionId": session["id"],
            "expiresAt": _format_time(session["expires"]),
            "message": f"Session extended by {minutes} minutes",
        }


def _members(session: dict[str, Any], names: str) -> dict[str, Any]:
    return {name: session[name] for name in names.split()}


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two packets: without this the second waits 40 ms for the first one's acknowledgement.
    disable_nagle_algorithm = True
    vendor: VendorServer

    def setup(self) -> None:
        self.vendor.accepted += 1
        super().setup()

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, respond = self.vendor.respond(Seen(self.command, self.path, headers, body))
        content = json.dumps(respond).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if self.vendor.honours_keys:
            self.send_header(ACCEPT_IDEMPOTENCY_KEY, "?1")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass
