"""The client for programs on an event loop of asyncio: one line per operation."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Concatenate, Final, Generic, Never, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload

import httpx2
from msgspec import UNSET, UnsetType

from sessionary.client import calls, quiet, walks
from sessionary.client.addresses import origin_of
from sessionary.client.answers import Answered, read_body_async, stream_of
from sessionary.client.async_transports import LoopTransport
from sessionary.client.calls import Call
from sessionary.client.conversations import Beginning, Transcript, for_one_call
from sessionary.client.deadlines import keeping_to
from sessionary.client.failures import translated
from sessionary.client.methods import Description, Method, answer_of, showing_options
from sessionary.client.pools import AsyncPool
from sessionary.client.retry import Attempts
from sessionary.client.server import ClientOptions, Server, proxy_checked, proxy_of, tls_for
from sessionary.client.surroundings import Surroundings
from sessionary.client.walks import Walk
from sessionary.constants import ADDITIONAL_MINUTES_DEFAULT
from sessionary.errors import MismatchedResponseError, SessionaryError
from sessionary.models import ExtendedSession, Session, UpdatedSession

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
Item = TypeVar("Item")

quiet.quieten()


class AsyncBoundOperation(Protocol[Arguments, Answer]):
    """An operation of one client, to be called."""

    async def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        """Carry out the operation and return its answer; raises SessionaryError."""

    async def with_response(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answered[Answer]:
        """Carry out the operation and return its answer with the HTTP response; raises SessionaryError."""


class AsyncOperation(Method, Generic[Arguments, Answer]):
    """An operation of every client."""

    def __init__(self, call: Callable[Arguments, Call[Answer]]) -> None:
        """Take the operation's arguments and answer from what makes its call."""
        answer, whole = answer_of(call), cast("Any", Answered)
        self._call: Final = call
        self._plain: Final = Description(call, answer)
        self._whole: Final = Description(call, whole[answer])

    def __set_name__(self, owner: type["AsyncClient"], name: str) -> None:
        call = self._call

        async def operation(client: "AsyncClient", /, *args: Any, **kwargs: Any) -> Any:
            return (await client.send(call(*args, **kwargs))).answer

        async def with_response(client: "AsyncClient", /, *args: Any, **kwargs: Any) -> Any:
            return await client.send(call(*args, **kwargs))

        function: Any = self._plain.unbound(operation, owner.__name__, name)
        function.with_response = self._whole.unbound(with_response, f"{owner.__name__}.{name}", "with_response")
        self.give_out(function)

    @overload
    def __get__(
        self, client: None, owner: type["AsyncClient"]
    ) -> AsyncBoundOperation[Concatenate["AsyncClient", Arguments], Answer]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type["AsyncClient"]) -> AsyncBoundOperation[Arguments, Answer]: ...
    def __get__(self, client: "AsyncClient | None", owner: type["AsyncClient"]) -> Any:
        """Bind the operation to a client."""
        if client is None:
            return self.function
        call, name = self._call, self.function.__name__

        async def operation(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
            return (await client.send(call(*args, **kwargs))).answer

        async def with_response(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answered[Answer]:
            return await client.send(call(*args, **kwargs))

        bound: Any = self._plain.bound(operation, owner.__name__, name)
        bound.__self__ = client
        bound.with_response = self._whole.bound(with_response, f"{owner.__name__}.{name}", "with_response")
        return bound


class AsyncIteration(Method, Generic[Arguments, Item]):
    """A walk of every client: called on one, it reads lazily."""

    def __init__(self, walk: Callable[Arguments, Walk[Item]]) -> None:
        """Take the walk's arguments and items from what makes it."""
        self._walk: Final = walk
        self._shown: Final = Description(walk, AsyncIterator[answer_of(walk)])  # type: ignore[misc]  # made when it runs

    def __set_name__(self, owner: type["AsyncClient"], name: str) -> None:
        walk = self._walk

        def iterate(client: "AsyncClient", /, *args: Any, **kwargs: Any) -> AsyncIterator[Item]:
            return _items(client, walk(*args, **kwargs))

        self.give_out(self._shown.unbound(iterate, owner.__name__, name))

    @overload
    def __get__(
        self, client: None, owner: type["AsyncClient"]
    ) -> Callable[Concatenate["AsyncClient", Arguments], AsyncIterator[Item]]: ...
    @overload
    def __get__(
        self, client: "AsyncClient", owner: type["AsyncClient"]
    ) -> Callable[Arguments, AsyncIterator[Item]]: ...
    def __get__(self, client: "AsyncClient | None", owner: type["AsyncClient"]) -> Any:
        """Bind the walk to a client."""
        if client is None:
            return self.function
        walk = self._walk

        def iterate(*args: Arguments.args, **kwargs: Arguments.kwargs) -> AsyncIterator[Item]:
            return _items(client, walk(*args, **kwargs))

        bound: Any = self._shown.bound(iterate, owner.__name__, self.function.__name__)
        bound.__self__ = client
        return bound


async def _items(client: "AsyncClient", walk: Walk[Item]) -> AsyncIterator[Item]:
    while walk.call is not None:
        for item in walk.take(await client.send(walk.call)):
            yield item


class AsyncClient:
    """Talks to a server of the AI Sessions API, ours or the vendor's, without holding up the event loop.

    Tasks may share one, and so may event loops of asyncio, one after another or at once in several threads, and a
    process and those it forks: each has connections of its own. A call that is cancelled, or that runs out of time,
    gives up its connection at once. Close it when done, or use it with ``async with``; a closed client stays closed.
    """

    @showing_options
    def __init__(
        self,
        url: str | None = None,
        *,
        verify: ssl.SSLContext | bool = True,
        proxy: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        surroundings: Surroundings[Awaitable[None]] | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """Talk to ``url``, or else to ``SESSIONARY_URL``; raises InvalidRequestError for settings that make no sense.

        ``verify`` takes an SSL context for other authorities or a client certificate. ``transport`` replaces the
        network, proxy and TLS settings included: ``httpx2.ASGITransport`` calls an application in this process.
        """
        self._surroundings: Final = surroundings or Surroundings(sleep=asyncio.sleep)
        environment = self._surroundings.environment
        self._server: Final = Server(url, options, environment)
        through = proxy_of(proxy, environment, self._server.url)
        self._proxy: Final = None if transport or not through else origin_of(httpx2.URL(through))
        trusted = tls_for(self._server.url, through, verify=verify)
        with proxy_checked():
            self._pool: Final = AsyncPool(lambda: LoopTransport(verify=trusted, proxy=through), transport)

    create_session: Final = AsyncOperation(calls.create_session)
    list_sessions: Final = AsyncOperation(calls.list_sessions)
    get_session: Final = AsyncOperation(calls.get_session)
    update_session: Final = AsyncOperation(calls.update_session)
    extend_session: Final = AsyncOperation(calls.extend_session)
    delete_session: Final = AsyncOperation(calls.delete_session)

    iterate_sessions: Final = AsyncIteration(walks.iterate_sessions)
    iterate_messages: Final = AsyncIteration(walks.iterate_messages)

    @showing_options
    def session(
        self, *, user_id: str | None = None, session_id: str | None = None, **beginning: Unpack[Beginning]
    ) -> "AsyncConversation":
        """Hold a conversation: a new one of ``user_id``, or the one that ``session_id`` names.

        Use it with ``async with``, as often as there is something to say: it begins once and then goes on.
        """
        return AsyncConversation(self, user_id, session_id, beginning)

    async def send(self, call: Call[Answer]) -> Answered[Answer]:
        """Carry out a call; raises SessionaryError."""
        attempts = Attempts(call, self._server, self._surroundings, self._proxy)
        while True:
            transport = await self._pool.transport()
            try:
                answered = attempts.end(await _exchange(transport, attempts))
                if answered is not None:
                    return answered
                continue
            except SessionaryError as error:
                await _hang_up_if_wrong(error)
                pause = attempts.pause_after(error)
                if pause is None:
                    raise
            await self._surroundings.sleep(pause)

    async def close(self) -> None:
        """Close the connections; nothing can be asked any more."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        self._pool.check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce__(self) -> Never:
        raise TypeError("A client cannot be pickled or copied: make one where it is needed.")


async def _exchange(transport: httpx2.AsyncBaseTransport, attempts: Attempts[Any]) -> httpx2.Response:
    request, deadline = attempts.begin(), attempts.deadline()
    with translated(attempts.route, deadline, attempts.timeout), keeping_to(deadline):
        async with asyncio.timeout(attempts.left()):
            response = await transport.handle_async_request(request)
            response.request = request
            await read_body_async(response)
    return response


async def _hang_up_if_wrong(error: SessionaryError) -> None:
    """Close the connection that brought the answer to another request: it is out of step."""
    stream = stream_of(error) if isinstance(error, MismatchedResponseError) else None
    if stream is not None:
        await stream.aclose()


class AsyncConversation(Transcript):
    """A conversation with a stored session; leaving its block sends nothing."""

    def __init__(self, client: AsyncClient, user_id: str | None, session_id: str | None, beginning: Beginning) -> None:
        """Be ready to begin, or to go on; raises InvalidRequestError unless one of the two ids is given."""
        super().__init__(user_id, session_id, beginning)
        self._client: Final = client

    async def __aenter__(self) -> Self:
        with self._begun_once() as creation:
            if creation is not None:
                self._note_created(await self._client.create_session(**creation))
                return self
        await self.refresh()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def __reduce__(self) -> Never:
        raise TypeError("A conversation cannot be pickled or copied: go on with it by its session_id.")

    async def say(
        self,
        role: str,
        content: Any,
        *,
        tokens_used: int | None = None,
        timeout: float | UnsetType | None = UNSET,  # noqa: ASYNC109 - a call's own deadline
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> UpdatedSession:
        """Append one message, with any further members it has; raises SessionaryError.

        A member that looks like a mistyped argument is refused with TypeError.
        """
        message = self._message(role, content, members)
        options = for_one_call(self._options, timeout, headers)
        updated = await self._client.update_session(
            self._known_id(), new_messages=[message], tokens_used=tokens_used, **options
        )
        self._note_updated(updated, message)
        return updated

    async def extend(
        self,
        minutes: int = ADDITIONAL_MINUTES_DEFAULT,
        *,
        timeout: float | UnsetType | None = UNSET,  # noqa: ASYNC109 - as above
        headers: Mapping[str, str] | None = None,
    ) -> ExtendedSession:
        """Let the session live for so many minutes more; raises SessionaryError."""
        options = for_one_call(self._options, timeout, headers)
        extended = await self._client.extend_session(self._known_id(), minutes, **options)
        self._note_extended(extended)
        return extended

    async def complete(
        self,
        *,
        timeout: float | UnsetType | None = UNSET,  # noqa: ASYNC109 - as above
        headers: Mapping[str, str] | None = None,
    ) -> UpdatedSession:
        """Mark the conversation as completed; raises SessionaryError."""
        options = for_one_call(self._options, timeout, headers)
        updated = await self._client.update_session(self._known_id(), status="completed", **options)
        self._note_updated(updated)
        return updated

    async def refresh(
        self,
        *,
        timeout: float | UnsetType | None = UNSET,  # noqa: ASYNC109 - as above
        headers: Mapping[str, str] | None = None,
    ) -> Session:
        """Read the conversation anew, with what others said in it; raises SessionaryError."""
        session = await self._client.get_session(self._known_id(), **for_one_call(self._options, timeout, headers))
        self._note_read(session)
        return session
