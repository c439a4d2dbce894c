"""The course of one call: what to send, what the answer means, whether to try again. It does no I/O itself."""

import math
from typing import Any, Final, Generic

import httpx

from sessionary.client.answers import Answered, is_json, read_answer
from sessionary.client.calls import Answer, Call
from sessionary.client.failures import carrying, failure_of
from sessionary.client.server import Attempt, Server
from sessionary.client.surroundings import Surroundings
from sessionary.errors import (
    BadResponse,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    SessionaryError,
)
from sessionary.model import IDEMPOTENCY_KEY, DeletedSession

TIMEOUT_SECONDS_MAX: Final = 1e9
"""About 30 years: longer means for as long as it takes."""
CONNECT_SECONDS_MAX: Final = 10.0
PAUSE_SECONDS_FIRST: Final = 0.25
PAUSE_SECONDS_MAX: Final = 8.0
RETRY_AFTER_SECONDS_MAX: Final = 60.0
"""A server that asks to wait for longer is not waited for: the caller is told."""

_SERVER_ERROR: Final = 500
_DELETED_UNHEARD: Final = "The session is gone; the answer to its deletion was lost on the way."


class Attempts(Generic[Answer]):
    """The attempts of one call, under one deadline and one idempotency key."""

    def __init__(self, call: Call[Answer], server: Server, surroundings: Surroundings[Any]) -> None:
        """Start the clock; raises InvalidRequest for a call that cannot be sent."""
        self._call: Final = call
        self._server: Final = server
        self._surroundings: Final = surroundings
        self._url: Final = _url(server.address_of(call))
        self._headers: Final = server.headers_of(call)
        timeout = _seconds(call.options.get("timeout", server.timeout))
        self.ends_at: Final = None if timeout is None else surroundings.clock() + timeout
        self._number = 0
        self._started = surroundings.clock()
        self._in_doubt = False
        if call.method != "GET":
            self._headers.setdefault(IDEMPOTENCY_KEY, f'"{surroundings.keys()}"')
        carrier: dict[str, str] = {}
        surroundings.inject(carrier)
        self._headers.update(carrier)

    def left(self) -> float | None:
        """Tell the seconds left for the call, or None if it has no deadline."""
        return None if self.ends_at is None else self.ends_at - self._surroundings.clock()

    def begin(self) -> httpx.Request:
        """Make the request of the next attempt; raises DeadlineExceeded if there is no time for one."""
        left = self.left()
        self._number += 1
        self._started = self._surroundings.clock()
        if left is not None and left <= 0:
            raise DeadlineExceeded(sent=False)
        connect = CONNECT_SECONDS_MAX if left is None else min(left, CONNECT_SECONDS_MAX)
        return httpx.Request(
            self._call.method,
            self._url,
            headers=self._headers,
            content=self._call.body,
            extensions={"timeout": httpx.Timeout(left, connect=connect).as_dict()},
        )

    def end(self, response: httpx.Response) -> Answered[Answer]:
        """Read a response; raises the error that it means."""
        self._server.learn_from(response)
        answer = self._answer(response)
        self._report(response.status_code, None, response.headers.get("x-request-id"))
        return Answered(answer, response)

    def pause_after(self, error: SessionaryError) -> float | None:
        """Tell how many seconds to wait before the next attempt, or None if there shall be none."""
        self._report(error.status, error.code, error.request_id)
        again = self._number <= self._server.retries and self._may_repeat(error)
        self._in_doubt = self._in_doubt or _may_have_acted(error)
        if isinstance(error, ConnectionFailed):
            error.sent = self._in_doubt
        if not again:
            return None
        pause = self._pause(error.retry_after or 0.0)
        left = self.left()
        return pause if left is None or pause < left else None

    def _answer(self, response: httpx.Response) -> Answer:
        if not response.is_success:
            failure = failure_of(response)
            if not (isinstance(failure, NotFound) and self._deletes_in_doubt()):
                raise failure
            unheard: Any = DeletedSession(_DELETED_UNHEARD)
            return unheard  # type: ignore[no-any-return]  # only a deletion gets here
        try:
            return read_answer(response, self._call.answers)
        except BadResponse as error:
            carrying(error, response)
            raise

    def _deletes_in_doubt(self) -> bool:
        return self._in_doubt and self._call.answers is DeletedSession

    def _may_repeat(self, error: SessionaryError) -> bool:
        if isinstance(error, ConnectionFailed) and not error.sent:
            return not isinstance(error, DeadlineExceeded)
        return _may_pass(error) and (self._call.repeatable or self._server.honours_keys)

    def _pause(self, retry_after: float) -> float:
        widest = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * 2.0 ** (self._number - 1))
        return retry_after + self._surroundings.random() * widest

    def _report(self, status: int, code: str | None, request_id: str | None) -> None:
        if self._server.on_attempt is not None:
            self._server.on_attempt(
                Attempt(
                    operation=self._call.operation,
                    number=self._number,
                    method=self._call.method,
                    path=self._url.raw_path.partition(b"?")[0].decode("ascii"),
                    status=status,
                    code=code,
                    request_id=request_id,
                    seconds=self._surroundings.clock() - self._started,
                )
            )


def _url(address: str) -> httpx.URL:
    try:
        return httpx.URL(address)
    except httpx.InvalidURL as error:
        raise InvalidRequest(f"The request cannot be sent: {error}.") from error


def _seconds(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if math.isnan(timeout):
        raise InvalidRequest("The timeout must be a number of seconds, or None.")
    # No clock of the system counts further, infinity least of all.
    return timeout if timeout < TIMEOUT_SECONDS_MAX else None


def _may_pass(error: SessionaryError) -> bool:
    """Tell whether the same request might fare better later."""
    if (error.retry_after or 0.0) > RETRY_AFTER_SECONDS_MAX or isinstance(error, DeadlineExceeded | QuotaExceeded):
        return False
    if isinstance(error, BadResponse):
        # JSON that breaks off was cut on the way; a page in another format will be there again.
        return isinstance(error.response, httpx.Response) and error.response.is_success and is_json(error.response)
    return isinstance(error, ConnectionFailed | RateLimited | RequestTimeout) or error.status >= _SERVER_ERROR


def _may_have_acted(error: SessionaryError) -> bool:
    """Tell whether the server may have done what it was asked, though it did not say so."""
    match error:
        case ConnectionFailed():
            return error.sent
        case Overloaded():
            return False
        case BadResponse():
            return True
        case _:
            return error.status >= _SERVER_ERROR
