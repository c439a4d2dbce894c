"""The ASGI application.

Every request takes the same steps: match its path, find the route, authenticate the token, check organisation and
scope, check the rate limit, check sizes and media type, call the handler. There is no middleware: ``_respond`` is the
whole sequence.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

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
from sessionary.server.http.idempotency import parse_idempotency_key
from sessionary.server.http.openapi import document
from sessionary.server.http.paths import match_route, normalise_prefix, strip_prefix
from sessionary.server.http.preconditions import explain_if_match, parse_if_match, parse_if_none_match
from sessionary.server.http.rate_limit_headers import rate_limit_headers
from sessionary.server.http.request_log import RequestLog
from sessionary.server.http.requests import (
    ClientDisconnectedError,
    Headers,
    Receive,
    Scope,
    Send,
    check_body_headers,
    check_size,
    get_request_id,
    is_strict,
    read_body,
)
from sessionary.server.http.responses import SECURITY_HEADERS, Response, problem_response
from sessionary.server.http.routes import Route, find_route
from sessionary.server.http.undelivered import DELIVERY, Change, UndeliveredResponses
from sessionary.server.operations.context import Context, Service
from sessionary.server.operations.rate_limiter import RateLimitDecision
from sessionary.server.operations.tokens import IMPORT

_NOT_MODIFIED: Final = 304
_INTERNAL_SERVER_ERROR: Final = 500
_SERVICE_UNAVAILABLE: Final = 503
_READ_METHODS: Final = frozenset({"GET", "HEAD"})
_STRICT_APPLIED: Final = (b"preference-applied", b"handling=strict")
_COMMON_HEADERS: Final = ((ACCEPT_IDEMPOTENCY_KEY.lower().encode(), b"?1"), *SECURITY_HEADERS)
_SERVER_PATHS: Final = frozenset({health.LIVE, health.READY, document.PATH})

_logger: Final = logging.getLogger("sessionary.server.http")


class Application:
    """Serves the AI Sessions API, the health checks and the OpenAPI document."""

    def __init__(  # noqa: PLR0913 - each is named where it is given
        self,
        service: Service,
        *,
        request_ids: Callable[[], str],
        on_response: Callable[[RequestLog], None],
        on_unavailable: Callable[[SessionaryError], None] = lambda _: None,
        path_prefix: str = "",
        body_seconds_max: float = 30.0,
        behind_proxy: bool = False,
    ) -> None:
        """Serve ``service``.

        ``request_ids`` makes an id for each request without one. ``on_response`` is called after each response,
        ``on_unavailable`` with each error that becomes a 503. ``behind_proxy`` logs ``X-Forwarded-For``.
        """
        self._service: Final = service
        self._authenticator: Final = Authenticator(service.store, service.clock, service.token_uses)
        self._request_ids: Final = request_ids
        self._on_response: Final = on_response
        self._on_unavailable: Final = on_unavailable
        self._behind_proxy: Final = behind_proxy
        self._prefix: Final = normalise_prefix(path_prefix)
        self._body_seconds_max: Final = body_seconds_max
        self._undelivered: Final = UndeliveredResponses(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one HTTP request; raises NotImplementedError for other protocols."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        started = time.perf_counter()
        headers = Headers(scope["headers"])
        log = RequestLog(
            get_request_id(headers, self._request_ids),
            scope["method"],
            client=scope.get("client"),
            path=scope["raw_path"],
        )
        if self._behind_proxy:
            log.forwarded_for = headers.get(b"x-forwarded-for")
        try:
            response = await self._respond(log, scope, headers, receive)
        except ClientDisconnectedError:
            return
        except asyncio.CancelledError:
            # Nobody knows whether the change was applied; the same request sent again gets this error, once.
            self._record_response(log, scope, problem_response(StoreUnavailableError()))
            raise
        except SessionaryError as error:
            response = self._error_response(log, headers, error)
        except Exception:
            _logger.exception("Request %s failed because of an internal error.", log.request_id)
            response = problem_response(InternalServerError())
        log.status = response.status
        try:
            await _send(send, response, log)
        finally:
            self._record_response(log, scope, None if log.had_no_effect else response)
        log.milliseconds = (time.perf_counter() - started) * 1000
        self._on_response(log)

    def _error_response(self, log: RequestLog, headers: Headers, error: SessionaryError) -> Response:
        # The traceback refers to the error, and would keep the whole request alive until the next full collection.
        error.__traceback__ = None
        if isinstance(error, PreconditionFailedError):
            error = explain_if_match(error, headers)
        if error.status == _SERVICE_UNAVAILABLE:
            self._on_unavailable(error)
        log.had_no_effect = error.status < _INTERNAL_SERVER_ERROR or isinstance(error, OverloadedError)
        # The unread rest of a late body could be taken for the next request.
        closes = isinstance(error, RequestTimeoutError)
        repeatable = log.method in _READ_METHODS or headers.get(b"idempotency-key") is not None
        return problem_response(error, [(b"connection", b"close")] if closes else [], repeatable=repeatable)

    async def _respond(self, log: RequestLog, scope: Scope, headers: Headers, receive: Receive) -> Response:
        prefix = normalise_prefix(root_path) if (root_path := scope.get("root_path")) else self._prefix
        path = strip_prefix(prefix, scope["raw_path"], _SERVER_PATHS)
        if path in _SERVER_PATHS:
            return await self._server_response(log, path, prefix)
        match = match_route(path)
        log.organisation = match.organisation
        log.session_id = match.session_id
        route = find_route(match.template, log.method)
        log.route = route.name
        token = await self._authenticator.authenticate(headers.get(b"authorization"))
        log.token_id = token.id
        authorize(token, match.organisation, route.scope)
        if self._service.rate_limiter is not None:
            _check_rate_limit(log, self._service.rate_limiter.try_acquire(token.id, match.organisation))
        log.strict = is_strict(headers)
        query: bytes = scope["query_string"]
        check_size(headers, query)
        body = b""
        if route.has_body:
            error_unless_empty = check_body_headers(headers)
            body = await read_body(receive, self._body_seconds_max, error_unless_empty)
            log.request_bytes = len(body)
        # The path as the caller sees it, also where a proxy removed the prefix.
        path = prefix.encode() + path
        idempotency_key = if_version = unless_version = None
        if route.method != "GET":
            idempotency_key = parse_idempotency_key(headers, token.id, route.method, path, body)
            if_version, unless_version = parse_if_match(headers), parse_if_none_match(headers)
        conditions = (idempotency_key, if_version, unless_version)
        ctx = Context(self._service, match.organisation, token.id, *conditions, IMPORT in token.scopes)
        request = Request(path, match.session_id, query, headers, body, log.strict)
        response = None
        if idempotency_key is None and route.method != "GET" and DELIVERY in scope:
            change = log.change = _change(route, ctx, request)
            if self._undelivered.track(change, scope[DELIVERY]):
                response = await self._undelivered.take_earlier_response(change, scope[DELIVERY])
        response = response or await route.handler(ctx, request)
        if response.session_id is not None:
            log.session_id = response.session_id
        return response

    def _record_response(self, log: RequestLog, scope: Scope, response: Response | None) -> None:
        if log.change is not None:
            self._undelivered.record_response(log.change, scope[DELIVERY], response)

    async def _server_response(self, log: RequestLog, path: bytes, prefix: str) -> Response:
        if log.method not in _READ_METHODS:
            raise MethodNotAllowedError("GET, HEAD")
        log.route = path.decode()
        if path == health.LIVE:
            return health.live()
        if path == health.READY:
            return await health.ready(self._service.store)
        return document.document_response(prefix)


def _change(route: Route, ctx: Context, request: Request) -> Change:
    """Describe a change without an idempotency key by everything that is equal when it is sent again."""
    headers = request.headers
    conditions = (headers.get(b"if-match") or b"", headers.get(b"if-none-match") or b"")
    names = (ctx.actor, route.name, request.session_id)
    return Change(ctx.organisation, names, (request.query, *conditions, request.body))


def _check_rate_limit(log: RequestLog, decision: RateLimitDecision) -> None:
    log.rate_limit_headers = rate_limit_headers(decision.statuses)
    if decision.retry_after:
        raise RateLimitError(retry_after=decision.retry_after)


async def _send(send: Send, response: Response, log: RequestLog) -> None:
    headers = [*response.headers, (b"x-request-id", log.request_id.encode()), *_COMMON_HEADERS]
    headers.extend(log.rate_limit_headers)
    if log.strict:
        headers.append(_STRICT_APPLIED)
    if response.status != _NOT_MODIFIED:
        headers.append((b"content-length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b"" if log.method == "HEAD" else response.body
    log.response_bytes = len(body)
    await send({"type": "http.response.body", "body": body})
