"""The client for programs on asyncio: one method for each operation."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Never, Self, TypeVar, Unpack

import httpx2

from sessionary import constants
from sessionary.client import log_filter, request_specs
from sessionary.client._async_conversation import AsyncConversation
from sessionary.client._async_responses import AsyncClientWithRawResponse, AsyncPage, AsyncSend
from sessionary.client.async_transports import AsyncNetworkTransport, close_mismatched, exchange
from sessionary.client.config import (
    ClientConfig,
    ClientOptions,
    ClientOverrides,
    choose_proxy,
    proxy_errors,
    tls_context_for,
)
from sessionary.client.connection_pools import AsyncConnectionPool
from sessionary.client.dependencies import Dependencies
from sessionary.client.pagination import WINDOW_LIMIT_DEFAULT, MessageWindows
from sessionary.client.request_specs import CallOptions, RequestSpec
from sessionary.client.response_decoding import APIResponse
from sessionary.client.results import (
    CreatedSession,
    DeletedSession,
    ExtendedSession,
    ListedSession,
    Session,
    UpdatedSession,
)
from sessionary.client.retry import Attempts
from sessionary.client.signatures import show_options
from sessionary.client.transcripts import ConversationOptions
from sessionary.client.urls import origin_of
from sessionary.errors import SessionaryError
from sessionary.models import JsonObject, Status

T = TypeVar("T")

log_filter.install_log_filter()


class _WithRawResponse:
    """Gives each client its ``with_raw_response``, and the class one for inspection only."""

    def __get__(self, client: "AsyncClient | None", owner: type["AsyncClient"]) -> AsyncClientWithRawResponse:
        """Return the operations of a client that return APIResponse objects."""
        if client is None:
            return AsyncClientWithRawResponse(_send_nothing)
        found: AsyncClientWithRawResponse = client.__dict__.get(_RAW) or AsyncClientWithRawResponse(client.send)
        client.__dict__[_RAW] = found
        return found


_RAW: Final = "_raw_methods"


async def _send_nothing(_: RequestSpec[T], /) -> APIResponse[T]:
    raise TypeError("with_raw_response needs a client, not the class of clients.")


class AsyncClient:
    """A client of an AI Sessions API: a sessionary server or the vendor's hosted one.

    It may be shared by tasks, by event loops of asyncio and by forked processes.
    Each event loop and each process gets its own connections.
    Close it when done, or use it with ``async with``. A closed client stays closed.
    """

    @show_options
    def __init__(
        self,
        url: str | None = None,
        *,
        verify: ssl.SSLContext | bool = True,
        proxy: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        _dependencies: Dependencies[Awaitable[None]] | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """Use the server at ``url``, by default ``SESSIONARY_URL``; raises ConfigurationError.

        ``verify`` takes an SSL context, for other certificate authorities or a client certificate. ``proxy`` is the
        address of a proxy. ``transport`` replaces the network, including proxy and TLS settings: a MockTransport of
        httpx2 in tests, for example.
        """
        self._dependencies: Final = _dependencies or Dependencies(sleep=asyncio.sleep)
        environment = self._dependencies.environment
        self._config = ClientConfig.load(url, options, environment)
        chosen = choose_proxy(proxy, environment, self._config.url)
        self._proxy: Final = None if transport or not chosen else origin_of(httpx2.URL(chosen))
        context = True if transport else tls_context_for(self._config.url, chosen, verify=verify)
        with proxy_errors():
            self._pool: Final = AsyncConnectionPool(
                lambda: AsyncNetworkTransport(verify=context, proxy=chosen), transport
            )

    with_raw_response: Final = _WithRawResponse()
    """The same operations, each returning an APIResponse: the result with status, headers and request id."""

    @show_options
    def with_options(self, **options: Unpack[ClientOverrides]) -> Self:
        """Return a client with other options that shares the connections of this one.

        ``headers`` are added to those of this client. Closing either client closes the connections of both. Raises
        ConfigurationError.
        """
        config = self._config.with_options(options)
        client = self.__class__.__new__(self.__class__)
        client.__dict__.update(self.__dict__)
        client.__dict__.pop(_RAW, None)
        client._config = config  # noqa: SLF001 - of the same class
        return client

    @show_options
    async def create_session(  # noqa: PLR0913 - all arguments of the operation
        self,
        user_id: str,
        *,
        session_group: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expiration_minutes: int | None = constants.EXPIRATION_MINUTES_DEFAULT,
        initial_messages: Iterable[Mapping[str, Any]] | None = None,
        title: str | None = None,
        model: str | None = None,
        created_at: datetime | str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> CreatedSession:
        """Create a session, which expires after 5 to 1,440 minutes unless it is extended.

        ``created_at`` is for imports, with a token that has the scope ``sessions:import``. The client makes an
        idempotency key itself if none is given. The vendor's server ignores ``title`` and ``model``. Raises
        SessionaryError.
        """
        spec = request_specs.create_session(
            user_id,
            session_group=session_group,
            metadata=metadata,
            expiration_minutes=expiration_minutes,
            initial_messages=initial_messages,
            title=title,
            model=model,
            created_at=created_at,
            idempotency_key=idempotency_key,
            **options,
        )
        return (await self.send(spec)).parse()

    @show_options
    async def list_sessions(  # noqa: PLR0913 - all arguments of the operation
        self,
        *,
        user_id: str | None = None,
        session_group: str | None = None,
        model: str | None = None,
        limit: int = constants.PAGE_LIMIT_DEFAULT,
        offset: int | None = None,
        status: Status | None = None,
        cursor: str | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncPage[ListedSession]:
        """Read one page of at most 100 sessions, the newest first. Filters match exactly and are combined with AND.

        ``data`` holds the sessions of the page; iterating over the page reads the following pages too. The vendor's
        server ignores ``status`` and ``cursor``. Raises SessionaryError.
        """
        spec = request_specs.list_sessions(
            user_id=user_id,
            session_group=session_group,
            model=model,
            limit=limit,
            offset=offset,
            status=status,
            cursor=cursor,
            **options,
        )
        return AsyncPage(self.send, spec, await self.send(spec))

    @show_options
    def iterate_sessions(
        self,
        *,
        user_id: str | None = None,
        session_group: str | None = None,
        model: str | None = None,
        status: Status | None = None,
        page_limit: int = constants.PAGE_LIMIT_MAX,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[ListedSession]:
        """Iterate over all matching sessions, the newest first; each page is read when it is needed.

        Nothing comes twice, and from a server that links its pages nothing is skipped. The vendor's server uses
        offsets: there a session may be skipped while others are deleted. ``timeout`` applies to each page.
        """
        spec = request_specs.list_sessions(
            user_id=user_id, session_group=session_group, model=model, status=status, limit=page_limit, **options
        )
        return _iterate_pages(self.send, spec)

    @show_options
    async def get_session(
        self,
        session_id: str,
        *,
        messages_limit: int | None = None,
        messages_offset: int | None = None,
        if_none_match: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Session:
        """Read a session with its messages, or with a window of them: a limit alone means the last ones.

        With ``if_none_match``, the ``etag`` of an earlier response, NotModifiedError is raised if nothing has changed.
        The vendor's server ignores windows and sends all messages. Raises SessionaryError.
        """
        spec = request_specs.get_session(
            session_id,
            messages_limit=messages_limit,
            messages_offset=messages_offset,
            if_none_match=if_none_match,
            **options,
        )
        return (await self.send(spec)).parse()

    @show_options
    def iterate_messages(
        self,
        session_id: str,
        *,
        messages_offset: int = 0,
        window_limit: int = WINDOW_LIMIT_DEFAULT,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[JsonObject]:
        """Iterate over the messages of a session, oldest first; each window of them is read when it is needed.

        ``messages_offset`` is the number of the first message. ``timeout`` applies to each window. A server without
        windows, such as the vendor's, sends all messages at once.
        """
        return _iterate_windows(self.send, MessageWindows(session_id, messages_offset, window_limit, options))

    @show_options
    async def update_session(  # noqa: PLR0913 - all arguments of the operation
        self,
        session_id: str,
        *,
        new_messages: Iterable[Mapping[str, Any]] | None = None,
        tokens_used: int | None = None,
        status: Status | None = None,
        metadata: Mapping[str, Any] | None = None,
        title: str | None = None,
        model: str | None = None,
        idempotency_key: str | None = None,
        if_match: str | None = None,
        **options: Unpack[CallOptions],
    ) -> UpdatedSession:
        """Append messages, add to the token total, merge metadata and set the status, all in one atomic step.

        With ``if_match``, the ``etag`` of a response, the update is made only if the session has not changed since;
        else PreconditionFailedError is raised. The vendor's server ignores ``title`` and ``model``. Raises
        SessionaryError.
        """
        spec = request_specs.update_session(
            session_id,
            new_messages=new_messages,
            tokens_used=tokens_used,
            status=status,
            metadata=metadata,
            title=title,
            model=model,
            idempotency_key=idempotency_key,
            if_match=if_match,
            **options,
        )
        return (await self.send(spec)).parse()

    @show_options
    async def extend_session(
        self,
        session_id: str,
        additional_minutes: int | None = constants.ADDITIONAL_MINUTES_DEFAULT,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
        **options: Unpack[CallOptions],
    ) -> ExtendedSession:
        """Let a session expire 1 to 1,440 minutes later than now set; raises SessionaryError."""
        spec = request_specs.extend_session(
            session_id, additional_minutes, idempotency_key=idempotency_key, if_match=if_match, **options
        )
        return (await self.send(spec)).parse()

    @show_options
    async def delete_session(
        self,
        session_id: str,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
        **options: Unpack[CallOptions],
    ) -> DeletedSession:
        """Delete a session with its messages; raises SessionaryError."""
        spec = request_specs.delete_session(session_id, idempotency_key=idempotency_key, if_match=if_match, **options)
        return (await self.send(spec)).parse()

    @show_options
    def session(
        self, *, user_id: str | None = None, session_id: str | None = None, **options: Unpack[ConversationOptions]
    ) -> AsyncConversation:
        """Return a conversation, for ``async with``: a new one of ``user_id``, or the stored one ``session_id``.

        It may be entered any number of times: the session is created once. Raises InvalidArgumentError.
        """
        return AsyncConversation(self, user_id, session_id, options)

    async def send(self, spec: RequestSpec[T], /) -> APIResponse[T]:
        """Send a request, with retries, and return the response; raises SessionaryError."""
        attempts = Attempts(spec, self._config, self._dependencies, self._proxy)
        while True:
            transport = await self._pool.transport()
            try:
                response = attempts.accept(await exchange(transport, attempts))
                if response is not None:
                    return response
                continue
            except SessionaryError as error:
                await close_mismatched(error)
                pause = attempts.pause_after(error)
                if pause is None:
                    raise
            await self._dependencies.sleep(pause)

    async def close(self) -> None:
        """Close the connections. No calls can be made afterwards."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        self._pool.check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._config.origin}>"

    def __reduce__(self) -> Never:
        raise TypeError("A client cannot be pickled or copied: make one where it is needed.")


async def _iterate_pages(send: AsyncSend, spec: RequestSpec[list[ListedSession]]) -> AsyncIterator[ListedSession]:
    async for session in AsyncPage(send, spec, await send(spec)):
        yield session


async def _iterate_windows(send: AsyncSend, windows: MessageWindows) -> AsyncIterator[JsonObject]:
    while windows.next_spec is not None:
        for message in windows.take((await send(windows.next_spec)).parse()):
            yield message
