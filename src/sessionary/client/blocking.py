"""The client for programs that wait for each answer: one line per operation."""

import functools
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, Self, TypeVar, Unpack, overload

import httpx
from msgspec import UNSET, UnsetType

from sessionary.client import calls, walks
from sessionary.client.answers import Answered
from sessionary.client.calls import Call
from sessionary.client.conversations import Beginning, Transcript, check_one_given, for_one_call, options_of
from sessionary.client.deadlines import Deadline, DeadlineTransport
from sessionary.client.failures import translated
from sessionary.client.retry import Attempts
from sessionary.client.server import ClientOptions, Server, proxy_checked, proxy_from, tls_for
from sessionary.client.surroundings import Surroundings
from sessionary.client.walks import Walk
from sessionary.errors import SessionaryError
from sessionary.limits import ADDITIONAL_MINUTES_DEFAULT
from sessionary.model import ExtendedSession, Session, UpdatedSession

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
Item = TypeVar("Item")


class BoundOperation(Generic[Arguments, Answer]):
    """An operation of one client, to be called."""

    def __init__(self, client: "Client", call: Callable[Arguments, Call[Answer]]) -> None:
        """Bind what makes the call to the client that carries it."""
        functools.update_wrapper(self, call)
        self._client: Final = client
        self._call: Final = call

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        """Carry out the operation and return its answer; raises SessionaryError."""
        return self._client.send(self._call(*args, **kwargs)).answer

    def with_response(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answered[Answer]:
        """Carry out the operation and return its answer with the HTTP response; raises SessionaryError."""
        return self._client.send(self._call(*args, **kwargs))


class Operation(Generic[Arguments, Answer]):
    """An operation of every client."""

    def __init__(self, call: Callable[Arguments, Call[Answer]]) -> None:
        """Take the operation's arguments and answer from what makes its call."""
        self.__doc__ = call.__doc__
        self._call: Final = call

    @overload
    def __get__(self, client: None, owner: type["Client"]) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type["Client"]) -> BoundOperation[Arguments, Answer]: ...
    def __get__(self, client: "Client | None", owner: type["Client"]) -> Self | BoundOperation[Arguments, Answer]:
        """Bind the operation to a client."""
        return self if client is None else BoundOperation(client, self._call)


class Iteration(Generic[Arguments, Item]):
    """A walk of every client: called on one, it reads lazily."""

    def __init__(self, walk: Callable[Arguments, Walk[Item]]) -> None:
        """Take the walk's arguments and items from what makes it."""
        self.__doc__ = walk.__doc__
        self._walk: Final = walk

    @overload
    def __get__(self, client: None, owner: type["Client"]) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type["Client"]) -> Callable[Arguments, Iterator[Item]]: ...
    def __get__(self, client: "Client | None", owner: type["Client"]) -> Self | Callable[Arguments, Iterator[Item]]:
        """Bind the walk to a client."""
        if client is None:
            return self

        @functools.wraps(self._walk)
        def iterate(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Iterator[Item]:
            return _items(client, self._walk(*args, **kwargs))

        return iterate


def _items(client: "Client", walk: Walk[Item]) -> Iterator[Item]:
    while walk.call is not None:
        yield from walk.take(client.send(walk.call))


class Client:
    """Talks to a server of the AI Sessions API: ours, or the vendor's.

    Threads may share one. Close it when done, or use it with ``with``.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        verify: ssl.SSLContext | bool = True,
        proxy: str | httpx.Proxy | None = None,
        transport: httpx.BaseTransport | None = None,
        surroundings: Surroundings[None] | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """Talk to ``url``, or else to ``SESSIONARY_URL``; raises InvalidRequest for settings that make no sense.

        ``verify`` takes an SSL context for other authorities or a client certificate. ``transport`` replaces the
        network, proxy and TLS settings included, and keeps each single wait to the timeout, not their sum.
        """
        self._surroundings: Final = surroundings or Surroundings(sleep=time.sleep)
        environment = self._surroundings.environment
        self._server: Final = Server(url, options, environment)
        self._deadline: Final = Deadline(self._surroundings.clock)
        proxy = proxy or proxy_from(environment, self._server.url)
        verify = tls_for(self._server.url, proxy, verify=verify)
        with proxy_checked():
            own = transport or DeadlineTransport(self._deadline, verify=verify, proxy=proxy)
        self._http: Final = httpx.Client(transport=own)

    create_session: Final = Operation(calls.create_session)
    list_sessions: Final = Operation(calls.list_sessions)
    get_session: Final = Operation(calls.get_session)
    update_session: Final = Operation(calls.update_session)
    extend_session: Final = Operation(calls.extend_session)
    delete_session: Final = Operation(calls.delete_session)

    iterate_sessions: Final = Iteration(walks.iterate_sessions)
    iterate_messages: Final = Iteration(walks.iterate_messages)

    def session(
        self, *, user_id: str | None = None, session_id: str | None = None, **beginning: Unpack[Beginning]
    ) -> "Conversation":
        """Hold a conversation: a new one of ``user_id``, or the one that ``session_id`` names; use it with ``with``."""
        return Conversation(self, user_id, session_id, beginning)

    def send(self, call: Call[Answer]) -> Answered[Answer]:
        """Carry out a call; raises SessionaryError."""
        attempts = Attempts(call, self._server, self._surroundings)
        while True:
            try:
                request = attempts.begin()
                with translated(attempts.left), self._until(attempts.ends_at):
                    response = self._http.send(request)
                return attempts.end(response)
            except SessionaryError as error:
                pause = attempts.pause_after(error)
                if pause is None:
                    raise
            self._surroundings.sleep(pause)

    @contextmanager
    def _until(self, ends_at: float | None) -> Iterator[None]:
        self._deadline.ends_at = ends_at
        try:
            yield
        finally:
            self._deadline.ends_at = None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Conversation(Transcript):
    """A conversation with a stored session; leaving its block sends nothing."""

    def __init__(self, client: Client, user_id: str | None, session_id: str | None, beginning: Beginning) -> None:
        """Be ready to begin, or to go on; raises InvalidRequest unless one of the two ids is given."""
        super().__init__(session_id)
        check_one_given(session_id, user_id)
        self._client: Final = client
        self._user_id: Final = user_id
        self._beginning: Final = beginning
        self._options: Final = options_of(beginning)

    def __enter__(self) -> Self:
        if self._user_id is None:
            self.refresh()
        else:
            created = self._client.create_session(self._user_id, **self._beginning)
            self._note_created(created, self._beginning.get("initial_messages") or [])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def say(
        self,
        role: str,
        content: Any,
        *,
        tokens_used: int | None = None,
        timeout: float | UnsetType | None = UNSET,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> UpdatedSession:
        """Append one message, with any further members it has; raises SessionaryError."""
        message = {"role": role, "content": content, **members}
        options = for_one_call(self._options, timeout, headers)
        updated = self._client.update_session(self.id, new_messages=[message], tokens_used=tokens_used, **options)
        self._note_updated(updated, message)
        return updated

    def extend(
        self,
        minutes: int = ADDITIONAL_MINUTES_DEFAULT,
        *,
        timeout: float | UnsetType | None = UNSET,
        headers: Mapping[str, str] | None = None,
    ) -> ExtendedSession:
        """Let the session live for so many minutes more; raises SessionaryError."""
        options = for_one_call(self._options, timeout, headers)
        extended = self._client.extend_session(self.id, minutes, **options)
        self._note_extended(extended)
        return extended

    def complete(
        self,
        *,
        timeout: float | UnsetType | None = UNSET,
        headers: Mapping[str, str] | None = None,
    ) -> UpdatedSession:
        """Mark the conversation as completed; raises SessionaryError."""
        options = for_one_call(self._options, timeout, headers)
        updated = self._client.update_session(self.id, status="completed", **options)
        self._note_updated(updated)
        return updated

    def refresh(
        self,
        *,
        timeout: float | UnsetType | None = UNSET,
        headers: Mapping[str, str] | None = None,
    ) -> Session:
        """Read the conversation anew, with what others said in it; raises SessionaryError."""
        session = self._client.get_session(self.id, **for_one_call(self._options, timeout, headers))
        self._note_read(session)
        return session
