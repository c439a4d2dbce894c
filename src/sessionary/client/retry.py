"""Retrying with exponential backoff and jitter: what each attempt of a call sends, and whether to retry. No I/O."""

from typing import Any, Final, Generic

import httpx2

from sessionary.client.config import Attempt, ClientConfig
from sessionary.client.deadlines import Deadline
from sessionary.client.dependencies import Dependencies
from sessionary.client.error_mapping import attach_response, error_from_response, timeout_error
from sessionary.client.failure_reasons import Route
from sessionary.client.log_filter import LOG
from sessionary.client.request_specs import RequestSpec, T
from sessionary.client.response_decoding import (
    REQUEST_ID,
    REQUEST_ID_PREFIX,
    APIResponse,
    check_request_id,
    check_session_id,
    decode_response,
    is_json,
)
from sessionary.client.results import DeletedSession
from sessionary.client.validation import validate_headers, validate_timeout
from sessionary.errors import (
    APIConnectionError,
    APITimeoutError,
    ClientUsageError,
    InvalidArgumentError,
    MismatchedResponseError,
    NotFoundError,
    OverloadedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ResponseValidationError,
    SessionaryError,
)
from sessionary.models import IDEMPOTENCY_KEY

CONNECT_SECONDS_MAX: Final = 10.0
PAUSE_SECONDS_FIRST: Final = 0.25
PAUSE_SECONDS_MAX: Final = 8.0
RETRY_AFTER_SECONDS_MAX: Final = 60.0
"""If a server asks for a longer wait, the error is raised at once."""

_SERVER_ERROR: Final = 500
_GATEWAY_ERRORS: Final = frozenset({502, 504})
"""Statuses of gateways that do not know whether the server carried out the request."""
_NEVER_RETRIED: Final = APITimeoutError | QuotaExceededError | MismatchedResponseError | ClientUsageError
_DELETED_EARLIER: Final = "The session is deleted; the response to an earlier attempt was lost."


class Attempts(Generic[T]):
    """The attempts of one call, under one deadline and one idempotency key."""

    def __init__(
        self, spec: RequestSpec[T], config: ClientConfig, dependencies: Dependencies[Any], proxy: str | None
    ) -> None:
        """Start the clock; raises InvalidArgumentError or ConfigurationError if the call cannot be sent."""
        self._spec: Final = spec
        self._config: Final = config
        self._dependencies: Final = dependencies
        self._url: Final = _parse_url(config.url_for(spec))
        self._headers: Final = config.headers_for(spec)
        self.route: Final = Route(config.origin, proxy)
        options = spec.options
        self.timeout: Final = validate_timeout(options["timeout"]) if "timeout" in options else config.timeout
        self._started = dependencies.clock()
        self.ends_at: Final = None if self.timeout is None else self._started + self.timeout
        self._number = 0
        self._failures = 0
        self._may_be_done = False
        self._unconfirmed: SessionaryError | None = None
        """The error of a write, while a probe finds out whether the server supports idempotency keys."""
        if spec.method != "GET":
            self._headers.setdefault(IDEMPOTENCY_KEY, f'"{dependencies.unique_id()}"')
        self._headers.update(_injected_headers(dependencies))
        self._request_id_base: Final = f"{REQUEST_ID_PREFIX}{dependencies.unique_id()}"
        self._request_id = self._headers.get(REQUEST_ID, "")
        self._makes_request_id: Final = not self._request_id

    def seconds_left(self) -> float | None:
        """Return the seconds left for the call, or None if it has no deadline."""
        return None if self.ends_at is None else self.ends_at - self._dependencies.clock()

    def deadline(self) -> Deadline:
        """Return the deadline for the waits of an attempt."""
        return Deadline(self._dependencies.clock, self.ends_at)

    def next_request(self) -> httpx2.Request:
        """Build the request of the next attempt; raises APITimeoutError if no time is left."""
        left = self.seconds_left()
        self._number += 1
        self._started = self._dependencies.clock()
        if left is not None and left <= 0:
            raise timeout_error(self.route, "", self.timeout, sent=False)
        if self._makes_request_id:
            self._request_id = self._headers[REQUEST_ID] = f"{self._request_id_base}-{self._number}"
        connect = CONNECT_SECONDS_MAX if left is None else min(left, CONNECT_SECONDS_MAX)
        waits = {"connect": connect, "read": left, "write": left, "pool": left}
        if self._unconfirmed is not None:
            return self._build_probe(waits)
        return httpx2.Request(
            self._spec.method, self._url, headers=self._headers, content=self._spec.body, extensions={"timeout": waits}
        )

    def accept(self, response: httpx2.Response) -> APIResponse[T] | None:
        """Decode a response; raises the error that it means. None means that the write is to be sent now."""
        try:
            check_request_id(response, self._request_id)
            self._config.capabilities.learn_from(response)
            if self._unconfirmed is not None:
                self._accept_probe(response, self._unconfirmed)
                return None
            result = self._decode(response)
        except ResponseValidationError as error:
            if error.response is None:
                attach_response(error, response)
            raise
        self._report(response.status_code, None, response.headers.get("x-request-id"))
        return APIResponse(response, result)

    def pause_after(self, error: SessionaryError) -> float | None:
        """Return how many seconds to wait before the next attempt, or None if there is to be none."""
        if error is self._unconfirmed:
            return None
        self._report(error.status, error.code, error.request_id)
        self._failures += 1
        again = self._failures <= self._config.max_retries and self._may_retry(error)
        if self._unconfirmed is None:
            self._may_be_done = self._may_be_done or _may_have_been_done(error)
        if isinstance(error, APIConnectionError):
            error.sent = self._may_be_done
        pause = self._pause(error.retry_after or 0.0) if again else None
        left = self.seconds_left()
        if pause is None or (left is not None and pause >= left):
            if self._unconfirmed is not None and not isinstance(error, APITimeoutError):
                raise self._unconfirmed from None
            return None
        if not self._is_safe_to_repeat(error):
            self._unconfirmed = self._unconfirmed or error
        return pause

    def _build_probe(self, waits: dict[str, float | None]) -> httpx2.Request:
        """Build an OPTIONS request, whose response shows whether the server supports idempotency keys."""
        headers = self._headers.copy()
        for name in (IDEMPOTENCY_KEY, "Content-Type"):
            headers.pop(name, None)
        return httpx2.Request("OPTIONS", self._url, headers=headers, extensions={"timeout": waits})

    def _accept_probe(self, response: httpx2.Response, unconfirmed: SessionaryError) -> None:
        """Evaluate the response to OPTIONS; raises the error of the write if keys are not supported."""
        if not response.is_success and not self._config.capabilities.supports_idempotency_keys:
            error = error_from_response(response)
            if _is_transient(error):
                raise error
        self._report(response.status_code, None, response.headers.get("x-request-id"))
        if not self._config.capabilities.supports_idempotency_keys:
            raise unconfirmed
        self._unconfirmed = None

    def _decode(self, response: httpx2.Response) -> T:
        if not response.is_success:
            error = error_from_response(response)
            if not (isinstance(error, NotFoundError) and self._may_be_deleted()):
                raise error
            deleted: Any = DeletedSession(_DELETED_EARLIER)
            return deleted  # type: ignore[no-any-return]  # only a deletion gets here
        result = decode_response(response, self._spec.result_type)
        check_session_id(result, self._spec.session_id)
        return result

    def _may_be_deleted(self) -> bool:
        return self._may_be_done and self._spec.result_type is DeletedSession

    def _may_retry(self, error: SessionaryError) -> bool:
        if isinstance(error, APIConnectionError) and not error.sent:
            return not isinstance(error, APITimeoutError)
        if not _is_transient(error):
            return False
        # If nothing is known of the server yet, a probe finds out first whether it supports idempotency keys.
        is_lost = isinstance(error, APIConnectionError) or error.status in _GATEWAY_ERRORS
        is_unknown = self._config.capabilities.supports_idempotency_keys is None
        return self._is_safe_to_repeat(error) or (is_unknown and (is_lost or self._unconfirmed is not None))

    def _is_safe_to_repeat(self, error: SessionaryError) -> bool:
        unsent = isinstance(error, APIConnectionError) and not error.sent
        return unsent or self._spec.repeatable or self._config.capabilities.supports_idempotency_keys is True

    def _pause(self, retry_after: float) -> float:
        widest = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * 2.0 ** (self._failures - 1))
        return retry_after + self._dependencies.random() * widest

    def _report(self, status: int, code: str | None, request_id: str | None) -> None:
        attempt = Attempt(
            operation=self._spec.operation,
            number=self._number,
            method=self._spec.method if self._unconfirmed is None else "OPTIONS",
            path=self._url.raw_path.partition(b"?")[0].decode("ascii"),
            status=status,
            code=code,
            request_id=request_id,
            seconds=self._dependencies.clock() - self._started,
        )
        values = (attempt.operation, attempt.number, attempt.status, attempt.code or "no error", attempt.seconds)
        LOG.debug("%s, request %d: status %d, %s, %.3f s", *values)
        if self._config.on_attempt is None:
            return
        try:
            self._config.on_attempt(attempt)
        except Exception:  # noqa: BLE001 - no exception of the hook may change the outcome of the call
            LOG.exception("on_attempt raised an exception; the call is not affected.")


def _injected_headers(dependencies: Dependencies[Any]) -> dict[str, str]:
    """Return additional headers, such as a trace context; the call works without them."""
    carrier: dict[str, str] = {}
    try:
        dependencies.inject_headers(carrier)
        return validate_headers(carrier)
    except Exception:  # noqa: BLE001 - as for on_attempt
        LOG.exception("No trace context could be added; the call is not affected.")
        return {}


def _parse_url(address: str) -> httpx2.URL:
    try:
        return httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise InvalidArgumentError(f"The request cannot be sent: {error}.") from error


def _is_transient(error: SessionaryError) -> bool:
    """Return whether the same request might succeed later."""
    if (error.retry_after or 0.0) > RETRY_AFTER_SECONDS_MAX or isinstance(error, _NEVER_RETRIED):
        return False
    if isinstance(error, ResponseValidationError):
        # Truncated JSON may be complete next time; a page in another format will come again.
        return isinstance(error.response, httpx2.Response) and error.response.is_success and is_json(error.response)
    return isinstance(error, APIConnectionError | RateLimitError | RequestTimeoutError) or error.status >= _SERVER_ERROR


def _may_have_been_done(error: SessionaryError) -> bool:
    """Return whether the server may have carried out the request in spite of the error."""
    match error:
        case APIConnectionError():
            return error.sent
        case OverloadedError():
            return False
        case ResponseValidationError():
            return True
        case _:
            return error.status >= _SERVER_ERROR
