"""The answering side of a connection: its exchanges, one after another, and the pauses between them."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sessionary.errors import OverloadedError, SessionaryError
from sessionary.server.delivery_tracking import SocketDelivery
from sessionary.server.http.requests import Headers, get_request_id
from sessionary.server.http.responses import Header
from sessionary.server.protocol_errors import encoded_refusal
from sessionary.server.request_cycle import Bounds, Exchange, Reading
from sessionary.server.slow_readers import ReaderWatch


class AnsweringProtocol(HttpToolsProtocol):
    """Has each request answered in its turn, closes what is idle, and hangs up on who does not read."""

    bounds: ClassVar[Bounds]
    request_ids: ClassVar[Callable[[], str]]
    on_unavailable: ClassVar[Callable[[SessionaryError], None]]
    date_header: ClassVar[Callable[[], Header]]

    # uvicorn's types know neither our own class nor that there is none before the first request.
    cycle: Any
    pipeline: Any
    flow: Reading

    _in_message = False
    _answering: Exchange | None = None
    _idle_timer: asyncio.TimerHandle | None = None
    _idle_from = 0.0

    def connection_made(self, transport: Any) -> None:
        """Follow what is written and read on the connection."""
        super().connection_made(transport)
        self.flow = Reading(transport)
        self._delivery = SocketDelivery(transport)
        self._reader = ReaderWatch(transport, self.loop, self.bounds.body_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what is being answered, and remember which answers did not arrive."""
        self._delivery.lose()
        self._reader.stop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        # uvicorn tells only the last of several pipelined requests; the one that is being answered would write on.
        for exchange in (self._answering, self.cycle, *(waiting for waiting, _ in self.pipeline)):
            if exchange is not None:
                exchange.give_up()
        # Each of these refers back to us: nothing of a lost connection shall wait for the garbage collector.
        self.pipeline.clear()
        self._answering = self.cycle = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Watch a caller that does not read as fast as it is written to."""
        super().pause_writing()
        self._reader.watch()

    def resume_writing(self) -> None:
        """Watch no longer, but for what is left at the end."""
        super().resume_writing()
        self._reader.stop()
        if self.transport.is_closing():
            self._reader.watch()

    def on_response_complete(self) -> None:
        """Have the next request answered, or rest."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._answering = None
            self._reader.watch()
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop()[0])
            return
        self._answering = None
        self._idle_from = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.bounds.idle_seconds, self._end_idle)

    def _begin(self, scope: dict[str, Any], *, keep_alive: bool) -> None:
        """Have a request answered, after those that came before it."""
        before = self.cycle
        self.cycle = Exchange(
            scope,
            self.transport,
            self.flow,
            type(self).date_header,
            self.on_response_complete,
            self._encoded,
            keep_alive=keep_alive,
            expects_continue=self.expect_100_continue,
        )
        if before is None or before.response_complete:
            self._start(self.cycle)
        else:
            self.pipeline.appendleft((self.cycle, self.app))

    def _start(self, exchange: Exchange) -> None:
        self._answering = exchange
        task = self.loop.create_task(exchange.run(self.app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _end_idle(self) -> None:
        # One timer for all pauses: setting and cancelling one for each would cost every request.
        self._idle_timer = None
        if self._in_message or self.cycle is None or not self.cycle.response_complete:
            return
        left = self._idle_from + self.bounds.idle_seconds - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._end_idle)
        else:
            self._close()

    def _close(self) -> None:
        self.transport.close()
        self._reader.watch()

    def _encoded(self, error: SessionaryError) -> bytes:
        if isinstance(error, OverloadedError):
            type(self).on_unavailable(error)
        headers = Headers(self.headers if self._in_message else [])
        return encoded_refusal(error, type(self).date_header(), get_request_id(headers, type(self).request_ids))
