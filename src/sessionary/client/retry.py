"""The course of one call: what to send, what the answer means, whether to try again. It does no I/O itself."""

from typing import Any, Final, Generic

import httpx2

from sessionary.client.answers import (
    REQUEST_ID,
    REQUEST_ID_PREFIX,
    Answered,
    check_is_ours,
    check_session,
    is_json,
    read_answer,
)
from sessionary.client.arguments import seconds
from sessionary.client.calls import Answer, Call
from sessionary.client.deadlines import Deadline
from sessionary.client.failures import carrying, failure_of, late
from sessionary.client.quiet import LOG
from sessionary.client.reasons import Route
from sessionary.client.server import Attempt, Server, checked
from sessionary.client.surroundings import Surroundings
from sessionary.errors import (
    APIConnectionError,
    APITimeoutError,
    ClientUsageError,
    InvalidRequestError,
    MismatchedResponseError,
    NotFoundError,
    OverloadedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ResponseValidationError,
    SessionaryError,
)
from sessionary.models import IDEMPOTENCY_KEY, DeletedSession

CONNECT_SECONDS_MAX: Final = 10.0
PAUSE_SECONDS_FIRST: Final = 0.25
PAUSE_SECONDS_MAX: Final = 8.0
RETRY_AFTER_SECONDS_MAX: Final = 60.0
"""A server that asks to wait for longer is not waited for: the caller is told."""

_SERVER_ERROR: Final = 500
_BY_GATEWAYS: Final = frozenset({502, 504})
"""What a gateway answers that does not know what became of the request."""
_FINAL: Final = APITimeoutError | QuotaExceededError | MismatchedResponseError | ClientUsageError
_DELETED_UNHEARD: Final = "The session is gone; the answer to its deletion was lost on the way."


class Attempts(Generic[Answer]):
    """The attempts of one call, under one deadline and one idempotency key."""

    def __init__(self, call: Call[Answer], server: Server, surroundings: Surroundings[Any], proxy: str | None) -> None:
        """Start the clock; raises InvalidRequestError for a call that cannot be sent."""
        self._call: Final = call
        self._server: Final = server
        self._surroundings: Final = surroundings
        self._url: Final = _url(server.address_of(call))
        self._headers: Final = server.headers_of(call)
        self.route: Final = Route(server.origin, proxy)
        options = call.options
        self.timeout: Final = seconds(options["timeout"]) if "timeout" in options else server.timeout
        self._started = surroundings.clock()
        self.ends_at: Final = None if self.timeout is None else self._started + self.timeout
        self._number = 0
        self._failures = 0
        self._in_doubt = False
        self._unconfirmed: SessionaryError | None = None
        """How a write failed, while the server is asked whether it honours keys."""
        if call.method != "GET":
            self._headers.setdefault(IDEMPOTENCY_KEY, f'"{surroundings.keys()}"')
        self._headers.update(_injected(surroundings))
        self._own_id: Final = f"{REQUEST_ID_PREFIX}{surroundings.keys()}"
        self._request_id = self._headers.get(REQUEST_ID, "")
        self._names_itself: Final = not self._request_id

    def left(self) -> float | None:
        """Tell the seconds left for the call, or None if it has no deadline."""
        return None if self.ends_at is None else self.ends_at - self._surroundings.clock()

    def deadline(self) -> Deadline:
        """Tell the waits of an attempt by when they must have ended."""
        return Deadline(self._surroundings.clock, self.ends_at)

    def begin(self) -> httpx2.Request:
        """Make the request of the next attempt; raises APITimeoutError if there is no time for one."""
        left = self.left()
        self._number += 1
        self._started = self._surroundings.clock()
        if left is not None and left <= 0:
            raise late(self.route, "", self.timeout, sent=False)
        if self._names_itself:
            self._request_id = self._headers[REQUEST_ID] = f"{self._own_id}-{self._number}"
        connect = CONNECT_SECONDS_MAX if left is None else min(left, CONNECT_SECONDS_MAX)
        waits = {"connect": connect, "read": left, "write": left, "pool": left}
        if self._unconfirmed is not None:
            return self._question(waits)
        return httpx2.Request(
            self._call.method, self._url, headers=self._headers, content=self._call.body, extensions={"timeout": waits}
        )

    def end(self, response: httpx2.Response) -> Answered[Answer] | None:
        """Read a response; raises the error that it means. None says that the call is to be sent now."""
        try:
            check_is_ours(response, self._request_id)
            self._server.learn_from(response)
            if self._unconfirmed is not None:
                self._take_reply(response, self._unconfirmed)
                return None
            answer = self._answer(response)
        except ResponseValidationError as error:
            if error.response is None:
                carrying(error, response)
            raise
        self._report(response.status_code, None, response.headers.get("x-request-id"))
        return Answered(answer, response)

    def pause_after(self, error: SessionaryError) -> float | None:
        """Tell how many seconds to wait before the next attempt, or None if there shall be none."""
        if error is self._unconfirmed:
            return None
        self._report(error.status, error.code, error.request_id)
        self._failures += 1
        again = self._failures <= self._server.retries and self._may_repeat(error)
        if self._unconfirmed is None:
            self._in_doubt = self._in_doubt or _may_have_acted(error)
        if isinstance(error, APIConnectionError):
            error.sent = self._in_doubt
        pause = self._pause(error.retry_after or 0.0) if again else None
        left = self.left()
        if pause is None or (left is not None and pause >= left):
            if self._unconfirmed is not None and not isinstance(error, APITimeoutError):
                raise self._unconfirmed from None
            return None
        if not self._is_repeatable(error):
            self._unconfirmed = self._unconfirmed or error
        return pause

    def _question(self, waits: dict[str, float | None]) -> httpx2.Request:
        """Ask the server whether it honours keys, with a request that changes nothing whoever answers it."""
        headers = self._headers.copy()
        for name in (IDEMPOTENCY_KEY, "Content-Type"):
            headers.pop(name, None)
        return httpx2.Request("OPTIONS", self._url, headers=headers, extensions={"timeout": waits})

    def _take_reply(self, response: httpx2.Response, unconfirmed: SessionaryError) -> None:
        """Take what the server said about keys; raises how the write had failed if it honours none."""
        if not response.is_success and not self._server.honours_keys:
            failure = failure_of(response)
            if _may_pass(failure):
                raise failure
        self._report(response.status_code, None, response.headers.get("x-request-id"))
        if not self._server.honours_keys:
            raise unconfirmed
        self._unconfirmed = None

    def _answer(self, response: httpx2.Response) -> Answer:
        if not response.is_success:
            failure = failure_of(response)
            if not (isinstance(failure, NotFoundError) and self._deletes_in_doubt()):
                raise failure
            unheard: Any = DeletedSession(_DELETED_UNHEARD)
            return unheard  # type: ignore[no-any-return]  # only a deletion gets here
        answer = read_answer(response, self._call.answers)
        check_session(answer, self._call.session_id)
        return answer

    def _deletes_in_doubt(self) -> bool:
        return self._in_doubt and self._call.answers is DeletedSession

    def _may_repeat(self, error: SessionaryError) -> bool:
        if isinstance(error, APIConnectionError) and not error.sent:
            return not isinstance(error, APITimeoutError)
        if not _may_pass(error):
            return False
        # Where nothing is known of the server yet, it is asked first whether it honours keys.
        unheard = isinstance(error, APIConnectionError) or error.status in _BY_GATEWAYS or self._unconfirmed is not None
        return self._is_repeatable(error) or (unheard and self._server.honours_keys is None)

    def _is_repeatable(self, error: SessionaryError) -> bool:
        unsent = isinstance(error, APIConnectionError) and not error.sent
        return unsent or self._call.repeatable or self._server.honours_keys is True

    def _pause(self, retry_after: float) -> float:
        widest = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * 2.0 ** (self._failures - 1))
        return retry_after + self._surroundings.random() * widest

    def _report(self, status: int, code: str | None, request_id: str | None) -> None:
        attempt = Attempt(
            operation=self._call.operation,
            number=self._number,
            method=self._call.method if self._unconfirmed is None else "OPTIONS",
            path=self._url.raw_path.partition(b"?")[0].decode("ascii"),
            status=status,
            code=code,
            request_id=request_id,
            seconds=self._surroundings.clock() - self._started,
        )
        told = (attempt.operation, attempt.number, attempt.status, attempt.code or "no error", attempt.seconds)
        LOG.debug("%s, request %d: status %d, %s, %.3f s", *told)
        if self._server.on_attempt is None:
            return
        try:
            self._server.on_attempt(attempt)
        except Exception:  # noqa: BLE001 - whatever it is, it must not change what became of the call
            LOG.exception("on_attempt failed; the call is not affected.")


def _injected(surroundings: Surroundings[Any]) -> dict[str, str]:
    """Ask for more headers, such as a trace context; without them the call is as good."""
    carrier: dict[str, str] = {}
    try:
        surroundings.inject(carrier)
        return checked(carrier)
    except Exception:  # noqa: BLE001 - as for on_attempt
        LOG.exception("No trace context could be added; the call is not affected.")
        return {}


def _url(address: str) -> httpx2.URL:
    try:
        return httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise InvalidRequestError(f"The request cannot be sent: {error}.") from error


def _may_pass(error: SessionaryError) -> bool:
    """Tell whether the same request might succeed later."""
    if (error.retry_after or 0.0) > RETRY_AFTER_SECONDS_MAX or isinstance(error, _FINAL):
        return False
    if isinstance(error, ResponseValidationError):
        # JSON that breaks off was cut on the way; a page in another format will be there again.
        return isinstance(error.response, httpx2.Response) and error.response.is_success and is_json(error.response)
    return isinstance(error, APIConnectionError | RateLimitError | RequestTimeoutError) or error.status >= _SERVER_ERROR


def _may_have_acted(error: SessionaryError) -> bool:
    """Tell whether the server may have done what it was asked, though it did not say so."""
    match error:
        case APIConnectionError():
            return error.sent
        case OverloadedError():
            return False
        case ResponseValidationError():
            return True
        case _:
            return error.status >= _SERVER_ERROR
