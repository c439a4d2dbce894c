"""The ASGI application: one funnel in, one funnel out.

Every request walks the same way: path, method, token, organisation and scope, size and media type, then its handler.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from sessionary.errors import (
    InternalServerError,
    MethodNotAllowedError,
    OverloadedError,
    PreconditionFailedError,
    RateLimitError,
    RequestTimeoutError,
    SessionaryError,
    StoreUnavailableError,
)
from sessionary.models import ACCEPT_IDEMPOTENCY_KEY
from sessionary.server.http import health
from sessionary.server.http.auth import Authenticator, authorize
from sessionary.server.http.handlers import Request
from sessionary.server.http.openapi import document
from sessionary.server.http.paths import path_below, place_of, prefix_of
from sessionary.server.http.preconditions import explained, idempotency_key_from, version_refused, version_wanted
from sessionary.server.http.rate_limit_headers import rate_limit_headers
from sessionary.server.http.requests import (
    ClientDisconnectedError,
    Headers,
    Receive,
    Scope,
    Send,
    check_body_headers,
    check_size,
    is_strict,
    read_body,
    request_id_of,
)
from sessionary.server.http.responses import SAFE, Header, Reply, problem
from sessionary.server.http.routes import Route, route_of
from sessionary.server.http.undelivered import DELIVERY, Change, Undelivered
from sessionary.server.operations.context import Context, Service
from sessionary.server.operations.rate_limiter import RateLimitDecision
from sessionary.server.operations.tokens import IMPORT

_NOT_MODIFIED: Final = 304
_FAULT_OF_OURS: Final = 500
_UNAVAILABLE: Final = 503
_READS: Final = frozenset({"GET", "HEAD"})
_STRICT_APPLIED: Final = (b"preference-applied", b"handling=strict")
_EVERY_ANSWER: Final = ((ACCEPT_IDEMPOTENCY_KEY.lower().encode(), b"?1"), *SAFE)

_logger: Final = logging.getLogger("sessionary.server.http")


class Exchange(Struct):
    """What is told of a request once it is answered: never its body, its token or a message."""

    request_id: str
    method: str
    organisation: str | None = None
    route: str | None = None
    status: int = 0
    milliseconds: float = 0.0
    rate_limit_headers: Sequence[Header] = ()
    client: tuple[str, int] | None = None
    path: bytes = b""
    token_id: str | None = None
    session_id: str | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    forwarded_for: bytes | None = None
    strict: bool = False
    change: Change | None = None
    had_no_effect: bool = False


class Application:
    """Answers the AI Sessions API, the health checks and the OpenAPI document."""

    def __init__(  # noqa: PLR0913 - each is named where it is given
        self,
        service: Service,
        *,
        request_ids: Callable[[], str],
        on_answer: Callable[[Exchange], None],
        on_unavailable: Callable[[SessionaryError], None] = lambda _: None,
        path_prefix: str = "",
        body_seconds_max: float = 30.0,
        behind_proxy: bool = False,
    ) -> None:
        """Serve ``service``; ``request_ids`` names requests without a name, ``on_answer`` is told of each answer.

        ``on_unavailable`` is told of each error that becomes a 503. ``behind_proxy`` notes whom the proxy asks for.
        """
        self._service: Final = service
        self._authenticator: Final = Authenticator(service.store, service.clock, service.token_uses)
        self._request_ids: Final = request_ids
        self._on_answer: Final = on_answer
        self._on_unavailable: Final = on_unavailable
        self._behind_proxy: Final = behind_proxy
        self._prefix: Final = prefix_of(path_prefix)
        self._body_seconds_max: Final = body_seconds_max
        self._undelivered: Final = Undelivered(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other protocols are not spoken here."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        started = time.perf_counter()
        headers = Headers(scope["headers"])
        exchange = Exchange(
            request_id_of(headers, self._request_ids),
            scope["method"],
            client=scope.get("client"),
            path=scope["raw_path"],
        )
        if self._behind_proxy:
            exchange.forwarded_for = headers.get(b"x-forwarded-for")
        try:
            reply = await self._reply(exchange, scope, headers, receive)
        except ClientDisconnectedError:
            return
        except asyncio.CancelledError:
            # Whether it was applied nobody can say; who repeats it is told so, once.
            self._answered(exchange, scope, problem(StoreUnavailableError()))
            raise
        except SessionaryError as error:
            reply = self._failed(exchange, headers, error)
        except Exception:
            _logger.exception("Request %s failed for a reason of ours.", exchange.request_id)
            reply = problem(InternalServerError())
        exchange.status = reply.status
        try:
            await _send(send, reply, exchange)
        finally:
            if exchange.change is not None:
                self._answered(exchange, scope, None if exchange.had_no_effect else reply)
        exchange.milliseconds = (time.perf_counter() - started) * 1000
        self._on_answer(exchange)

    def _failed(self, exchange: Exchange, headers: Headers, error: SessionaryError) -> Reply:
        # The way it came holds the error, and with it the whole request, until the next full collection.
        error.__traceback__ = None
        if isinstance(error, PreconditionFailedError):
            error = explained(error, headers)
        if error.status == _UNAVAILABLE:
            self._on_unavailable(error)
        exchange.had_no_effect = error.status < _FAULT_OF_OURS or isinstance(error, OverloadedError)
        # What was not read of a late body could be taken for the next request.
        late = isinstance(error, RequestTimeoutError)
        repeatable = exchange.method in _READS or headers.get(b"idempotency-key") is not None
        return problem(error, [(b"connection", b"close")] if late else [], repeatable=repeatable)

    async def _reply(self, exchange: Exchange, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        prefix = prefix_of(root_path) if (root_path := scope.get("root_path")) else self._prefix
        path = path_below(prefix, scope["raw_path"], _PLAIN_PATHS)
        if path in _PLAIN_PATHS:
            return await self._plain_reply(exchange, path, prefix)
        place = place_of(path)
        exchange.organisation = place.organisation
        exchange.session_id = place.session_id
        route = route_of(place.kind, exchange.method)
        exchange.route = route.name
        token = await self._authenticator.authenticate(headers.get(b"authorization"))
        exchange.token_id = token.id
        authorize(token, place.organisation, route.scope)
        if self._service.rate_limiter is not None:
            _admit(exchange, self._service.rate_limiter.try_acquire(token.id, place.organisation))
        exchange.strict = is_strict(headers)
        query: bytes = scope["query_string"]
        check_size(headers, query)
        body = b""
        if route.takes_body:
            refusal = check_body_headers(headers)
            body = await read_body(receive, self._body_seconds_max, refusal)
            exchange.request_bytes = len(body)
        # As the caller sees it, also where a proxy took the prefix off.
        path = prefix.encode() + path
        idempotency_key = if_version = unless_version = None
        if route.method != "GET":
            idempotency_key = idempotency_key_from(headers, token.id, route.method, path, body)
            if_version, unless_version = version_wanted(headers), version_refused(headers)
        conditions = (idempotency_key, if_version, unless_version)
        ctx = Context(self._service, place.organisation, token.id, *conditions, IMPORT in token.scopes)
        request = Request(path, place.session_id, query, headers, body, exchange.strict)
        reply = None
        if idempotency_key is None and route.method != "GET" and DELIVERY in scope:
            change = exchange.change = _change(route, ctx, request)
            if self._undelivered.begin(change, scope[DELIVERY]):
                reply = await self._undelivered.earlier_reply(change, scope[DELIVERY])
        reply = reply or await route.handler(ctx, request)
        if reply.session_id is not None:
            exchange.session_id = reply.session_id
        return reply

    def _answered(self, exchange: Exchange, scope: Scope, reply: Reply | None) -> None:
        if exchange.change is not None:
            self._undelivered.answer(exchange.change, scope[DELIVERY], reply)

    async def _plain_reply(self, exchange: Exchange, path: bytes, prefix: str) -> Reply:
        if exchange.method not in _READS:
            raise MethodNotAllowedError("GET, HEAD")
        exchange.route = path.decode()
        if path == health.LIVE:
            return health.live()
        if path == health.READY:
            return await health.ready(self._service.store)
        return document.document_reply(prefix)


def _change(route: Route, ctx: Context, request: Request) -> Change:
    """Name a change without a key by all that must be the same in a repeat."""
    headers = request.headers
    conditions = (headers.get(b"if-match") or b"", headers.get(b"if-none-match") or b"")
    names = (ctx.actor, route.name, request.session_id)
    return Change(ctx.organisation, names, (request.query, *conditions, request.body))


def _admit(exchange: Exchange, admission: RateLimitDecision) -> None:
    exchange.rate_limit_headers = rate_limit_headers(admission.statuses)
    if admission.retry_after:
        raise RateLimitError(retry_after=admission.retry_after)


_PLAIN_PATHS: Final = frozenset({health.LIVE, health.READY, document.PATH})


async def _send(send: Send, reply: Reply, exchange: Exchange) -> None:
    headers = [*reply.headers, (b"x-request-id", exchange.request_id.encode()), *_EVERY_ANSWER]
    headers.extend(exchange.rate_limit_headers)
    if exchange.strict:
        headers.append(_STRICT_APPLIED)
    if reply.status != _NOT_MODIFIED:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    body = b"" if exchange.method == "HEAD" else reply.body
    exchange.response_bytes = len(body)
    await send({"type": "http.response.body", "body": body})
