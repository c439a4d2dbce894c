"""Pipelining and keep-alive: the requests of a connection, one after another, and the idle times between them."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sessionary.errors import OverloadedError, SessionaryError
from sessionary.server.delivery_tracking import SocketDelivery
from sessionary.server.http.requests import Headers, get_request_id
from sessionary.server.http.responses import Header
from sessionary.server.protocol_errors import encode_error_response
from sessionary.server.request_cycle import ConnectionLimits, PausableFlowControl, RequestCycle
from sessionary.server.slow_readers import SlowReaderTimer


class PipeliningProtocol(HttpToolsProtocol):
    """Answers pipelined requests in order, and closes connections that are idle or whose client does not read."""

    limits: ClassVar[ConnectionLimits]
    request_ids: ClassVar[Callable[[], str]]
    on_unavailable: ClassVar[Callable[[SessionaryError], None]]
    date_header: ClassVar[Callable[[], Header]]

    # Typed as Any: uvicorn declares its own class, and no None before the first request.
    cycle: Any
    pipeline: Any
    flow: PausableFlowControl

    _in_message = False
    _current_cycle: RequestCycle | None = None
    _idle_timer: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: Any) -> None:
        """Start tracking what is written and read on the connection."""
        super().connection_made(transport)
        self.flow = PausableFlowControl(transport)
        self._delivery = SocketDelivery(transport)
        self._reader_timer = SlowReaderTimer(transport, self.loop, self.limits.body_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Abort the requests of the connection, and remember which responses did not arrive."""
        self._delivery.lose()
        self._reader_timer.stop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        # uvicorn aborts only the last of several pipelined requests; the current one would go on writing.
        for cycle in (self._current_cycle, self.cycle, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None:
                cycle.abort()
        # These refer back to this object; without the cycle no garbage collection is needed to free the connection.
        self.pipeline.clear()
        self._current_cycle = self.cycle = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the timer of slow readers: the client reads more slowly than the server writes."""
        super().pause_writing()
        self._reader_timer.start()

    def resume_writing(self) -> None:
        """Stop the timer of slow readers, unless the connection is closing and still has data to send."""
        super().resume_writing()
        self._reader_timer.stop()
        if self.transport.is_closing():
            self._reader_timer.start()

    def on_response_complete(self) -> None:
        """Start the next request, or the idle timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._current_cycle = None
            self._reader_timer.start()
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop()[0])
            return
        self._current_cycle = None
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.limits.idle_seconds, self._on_idle_timeout)

    def _enqueue(self, scope: dict[str, Any], *, keep_alive: bool) -> None:
        """Start a request, or queue it behind the earlier ones."""
        before = self.cycle
        self.cycle = RequestCycle(
            scope,
            self.transport,
            self.flow,
            type(self).date_header,
            self.on_response_complete,
            self._encode_error,
            keep_alive=keep_alive,
            expects_continue=self.expect_100_continue,
        )
        if before is None or before.response_complete:
            self._start(self.cycle)
        else:
            self.pipeline.appendleft((self.cycle, self.app))

    def _start(self, cycle: RequestCycle) -> None:
        self._current_cycle = cycle
        task = self.loop.create_task(cycle.run(self.app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _on_idle_timeout(self) -> None:
        # One timer for all idle times: setting and cancelling one for each would make every request slower.
        self._idle_timer = None
        if self._in_message or self.cycle is None or not self.cycle.response_complete:
            return
        left = self._idle_since + self.limits.idle_seconds - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._on_idle_timeout)
        else:
            self._close()

    def _close(self) -> None:
        self.transport.close()
        self._reader_timer.start()

    def _encode_error(self, error: SessionaryError) -> bytes:
        if isinstance(error, OverloadedError):
            type(self).on_unavailable(error)
        headers = Headers(self.headers if self._in_message else [])
        return encode_error_response(error, type(self).date_header(), get_request_id(headers, type(self).request_ids))
