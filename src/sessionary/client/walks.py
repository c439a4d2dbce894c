"""Reading what takes several calls, one call at a time: lists page by page, conversations window by window."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar, Unpack
from urllib.parse import urlsplit

from sessionary import constants
from sessionary.client.answers import Answered
from sessionary.client.calls import Call, CallOptions, get_session, list_sessions, listing
from sessionary.errors import ResponseValidationError
from sessionary.models import JsonObject, ListedSession, Session, Status

Item_co = TypeVar("Item_co", covariant=True)

WINDOW_LIMIT_DEFAULT: Final = 100


class Walk(Protocol[Item_co]):
    """A way through many answers."""

    call: Call[Any] | None
    """What to ask next; None at the end."""

    def take(self, answered: Answered[Any]) -> Iterable[Item_co]:
        """Take the answer to ``call``, return what it brought, and turn to the next."""


def iterate_sessions(
    *,
    user_id: str | None = None,
    session_group: str | None = None,
    model: str | None = None,
    status: Status | None = None,
    page_limit: int = constants.PAGE_LIMIT_MAX,
    **options: Unpack[CallOptions],
) -> Walk[ListedSession]:
    """Read all sessions that match, the newest first, a page at a time and none before it is asked for.

    Nothing comes twice, and from a server that links its pages nothing is skipped. The vendor's go by offset: there a
    session may be skipped while others are deleted. ``timeout`` is for each page.
    """
    first = list_sessions(
        user_id=user_id, session_group=session_group, model=model, status=status, limit=page_limit, **options
    )
    filters = {"user_id": user_id, "session_group": session_group, "model": model}
    return _Pages(first, page_limit, {**filters, "status": status})


class _Pages:
    """A list's pages: by link where the server gives one, else by offset."""

    def __init__(self, first: Call[list[ListedSession]], limit: int, filters: dict[str, Any]) -> None:
        self.call: Call[list[ListedSession]] | None = first
        self._limit: Final = limit
        self._filters: Final = filters
        self._offset = 0
        self._linked = False
        self._seen: Final[set[str]] = set()

    def take(self, answered: Answered[list[ListedSession]]) -> Sequence[ListedSession]:
        page, options = answered.answer, self.call.options if self.call else CallOptions()
        link = answered.response.links.get("next", {}).get("url")
        self._linked = self._linked or link is not None
        fresh = page if self._linked else [session for session in page if not self._is_known(session.id)]
        if link is not None:
            self.call = self._follow(link, options)
        elif self._linked or len(page) < self._limit:
            self.call = None
        else:
            self._offset += len(page)
            self.call = list_sessions(**self._filters, limit=self._limit, offset=self._offset, **options)
        return fresh

    def _is_known(self, session_id: str) -> bool:
        # A session created meanwhile pushes the last ones of a page onto the next.
        known = session_id in self._seen
        if session_id:
            self._seen.add(session_id)
        return known

    def _follow(self, link: str, options: CallOptions) -> Call[list[ListedSession]]:
        # Only the link's query counts: a proxy may have changed the path, and the token goes to no other server.
        try:
            query = urlsplit(link).query
        except ValueError as error:
            raise ResponseValidationError(f"The server's link to the next page cannot be read: {error}.") from error
        following = listing(query, options)
        if self.call is not None and following.query == self.call.query:
            raise ResponseValidationError("The server's links lead in a circle.")
        return following


def iterate_messages(
    session_id: str,
    *,
    messages_offset: int = 0,
    window_limit: int = WINDOW_LIMIT_DEFAULT,
    **options: Unpack[CallOptions],
) -> Walk[JsonObject]:
    """Read a conversation from its first message, or a later one, a window at a time and none before it is asked for.

    A server that knows no windows, such as the vendor's, sends all messages at once. ``timeout`` is for each window.
    """
    return _Windows(session_id, messages_offset, window_limit, options)


class _Windows:
    """A conversation's windows, first to last."""

    def __init__(self, session_id: str, offset: int, limit: int, options: CallOptions) -> None:
        self._session_id: Final = session_id
        self._limit: Final = limit
        self._options: Final = options
        self._offset = offset
        self.call: Call[Session] | None = self._window()

    def take(self, answered: Answered[Session]) -> Sequence[JsonObject]:
        session = answered.answer
        if session.messages_offset is None:
            self.call = None
            return session.messages[self._offset :]
        self._offset = session.messages_offset + len(session.messages)
        self.call = self._window() if len(session.messages) >= self._limit else None
        return session.messages

    def _window(self) -> Call[Session]:
        return get_session(self._session_id, messages_offset=self._offset, messages_limit=self._limit, **self._options)
