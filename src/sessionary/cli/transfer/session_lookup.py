"""Checks whether the sessions in a journal still exist on the server."""

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from sessionary import constants
from sessionary.cli.transfer.journal import Journal
from sessionary.errors import NotFoundError, PermissionDeniedError

if TYPE_CHECKING:
    import sessionary

_SESSIONS_A_PAGE_AT_LEAST: Final = 10
"""If fewer of a page's sessions were imported, one request for each session is cheaper than the list."""
_PAGES_AT_LEAST: Final = 10
UNCHECKED: Final = (
    "The token may not read sessions: it was not checked whether those in the journal still exist on the server."
)


class SessionLookup:
    """Looks up sessions: first in the list, 100 a page, then those not found there one by one."""

    def __init__(self, client: "sessionary.AsyncClient", journal: Journal) -> None:
        """Look up the sessions of this journal."""
        self._client: Final = client
        self._journal: Final = journal
        self._is_complete = False
        """Whether the whole list was read."""
        self.notice: str | None = None

    async def load(self) -> None:
        """Read as much of the list as is likely to contain many of the journal's sessions."""
        count = self._journal.count()
        pages = _PAGES_AT_LEAST + count // _SESSIONS_A_PAGE_AT_LEAST if count else 0
        cursor: str | None = None
        for _ in range(pages):
            try:
                response = await self._client.with_raw_response.list_sessions(
                    limit=constants.PAGE_LIMIT_MAX, cursor=cursor
                )
            except PermissionDeniedError:
                self.notice = UNCHECKED
                return
            page = response.parse().data
            self._journal.add_existing(session.id for session in page)
            link = response.http_response.links.get("next", {}).get("url")
            if link is None:
                # The vendor's server sends no Link header.
                self._is_complete = len(page) < constants.PAGE_LIMIT_MAX or cursor is not None
                return
            cursor = parse_qs(urlsplit(link).query)["cursor"][0]

    def is_known(self, session_id: str) -> bool:
        """Return whether the session is known to exist, without a request."""
        return self.notice is not None or self._journal.is_existing(session_id)

    async def exists(self, session_id: str) -> bool:
        """Return whether the session exists on the server."""
        if self.is_known(session_id):
            return True
        return not self._is_complete and await session_exists(self._client, session_id)


async def session_exists(client: "sessionary.AsyncClient", session_id: str) -> bool:
    """Request the session; true also if the token may not read it."""
    try:
        await client.get_session(session_id, messages_limit=1)
    except NotFoundError:
        return False
    except PermissionDeniedError:
        # A token with only the write scope.
        return True
    return True
