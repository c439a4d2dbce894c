"""What both clients know of lists page by page, and of conversations window by window."""

from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from msgspec.structs import replace

from sessionary.client.request_specs import CallOptions, RequestSpec, get_session
from sessionary.client.response_decoding import APIResponse
from sessionary.client.results import Session
from sessionary.errors import ClientUsageError, InvalidArgumentError, ResponseValidationError
from sessionary.models import JsonObject

Item = TypeVar("Item")

WINDOW_LIMIT_DEFAULT: Final = 100
_REPEATED_PAGES_MAX: Final = 10
"""How many pages in a row may bring nothing new. Sessions created meanwhile repeat some, but not that many."""


class Paginator(Generic[Item]):
    """One page of a list, and how to request the next one: by the server's link, else by offset.

    Nothing comes twice. With links nothing is skipped either; with offsets an item may be skipped while others are
    deleted.
    """

    def __init__(
        self, spec: RequestSpec[list[Item]], response: APIResponse[list[Item]], previous: "Paginator[Item] | None"
    ) -> None:
        """Take the response to a request; ``previous`` is the page before it."""
        self._spec: Final = spec
        self._link: Final[str | None] = response.http_response.links.get("next", {}).get("url")
        self._has_links: Final[bool] = self._link is not None or (previous is not None and previous._has_links)  # noqa: SLF001 - of the same class
        self._count: Final = len(response.parse())
        self._seen_ids: frozenset[str] = frozenset()
        self.data: Final[list[Item]] = self._without_repeats(response.parse(), previous)
        """The items of this page."""
        is_repeat = bool(self._count) and not self.data
        self._repeats: Final[int] = (0 if previous is None else previous._repeats) + 1 if is_repeat else 0  # noqa: SLF001 - as above

    def has_next_page(self) -> bool:
        """Return whether there is a next page; without links, a full page counts as a sign of one.

        Raises ResponseValidationError if the server's link to it cannot be used, or if its pages repeat without end.
        """
        return self._next_spec() is not None

    def _next_spec(self) -> RequestSpec[list[Item]] | None:
        if self._link is not None:
            return self._follow(self._link)
        parameters = dict(parse_qsl(self._spec.query))
        if self._repeats == _REPEATED_PAGES_MAX:
            raise ResponseValidationError("The server sends the same page again and again: it seems to ignore offset.")
        if self._has_links or self._count < int(parameters.get("limit", 0)) or not self._count:
            return None
        parameters["offset"] = str(int(parameters.get("offset", 0)) + self._count)
        return replace(self._spec, query=urlencode(parameters, quote_via=quote))

    def _required_next_spec(self) -> RequestSpec[list[Item]]:
        spec = self._next_spec()
        if spec is None:
            raise ClientUsageError("There is no next page: check has_next_page() first.")
        return spec

    def _follow(self, link: str) -> RequestSpec[list[Item]]:
        # Only the query of the link is used: a proxy may have changed the path, and the token must stay on this server.
        try:
            query = urlsplit(link).query
        except ValueError as error:
            raise ResponseValidationError(f"The server's link to the next page cannot be read: {error}.") from error
        if query == self._spec.query:
            raise ResponseValidationError("The server's link to the next page leads back to the same page.")
        return replace(self._spec, query=query)

    def _without_repeats(self, items: list[Item], previous: "Paginator[Item] | None") -> list[Item]:
        """Drop what the pages before had: a session created meanwhile pushes others onto the next page."""
        if self._has_links:
            return items
        known = frozenset() if previous is None else previous._seen_ids  # noqa: SLF001 - as above
        self._seen_ids = known | {_id_of(item) for item in items if _id_of(item)}
        return [item for item in items if _id_of(item) not in known]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.data)}>"


def _id_of(item: Any) -> str:
    item_id: str = getattr(item, "id", "")
    return item_id


class MessageWindows:
    """The windows of a conversation, first to last."""

    def __init__(self, session_id: str, offset: Any, limit: Any, options: CallOptions) -> None:
        """Start at message number ``offset``, ``limit`` messages a window; raises InvalidArgumentError."""
        self._session_id: Final = session_id
        for name, value in (("messages_offset", offset), ("window_limit", limit)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidArgumentError(f"{name} must be an integer that is not negative.")
        self._limit: Final = limit
        self._options: Final = options
        self._offset = offset
        self.next_spec: RequestSpec[Session] | None = self._window()
        """The request for the next window; None at the end."""

    def take(self, session: Session) -> Sequence[JsonObject]:
        """Take the response to ``next_spec``, move on, and return its messages."""
        if session.messages_offset is None:
            # The server knows no windows and has sent all messages.
            self.next_spec = None
            return session.messages[self._offset :]
        self._offset = session.messages_offset + len(session.messages)
        self.next_spec = self._window() if len(session.messages) >= self._limit else None
        return session.messages

    def _window(self) -> RequestSpec[Session]:
        return get_session(self._session_id, messages_offset=self._offset, messages_limit=self._limit, **self._options)
