"""Whether the sessions that a journal names are still on the server."""

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from sessionary import constants
from sessionary.cli.transfer.journal import Journal
from sessionary.errors import NotFoundError, PermissionDeniedError

if TYPE_CHECKING:
    import sessionary

_SESSIONS_A_PAGE_AT_LEAST: Final = 10
"""Where fewer of a page's sessions were imported, it is cheaper to ask for each."""
_PAGES_AT_LEAST: Final = 10
UNCHECKED: Final = (
    "The token may not read sessions: whether those that the journal names are still on the server was not looked up."
)


class Presence:
    """Looks sessions up: first in the server's list, a hundred at a time, and those not found there one by one."""

    def __init__(self, client: "sessionary.AsyncClient", journal: Journal) -> None:
        """Look up the sessions of a journal."""
        self._client: Final = client
        self._journal: Final = journal
        self._is_whole = False
        """Whether the list was read to its end."""
        self.notice: str | None = None

    async def learn(self) -> None:
        """Read the list, as far as it is likely to name many of the journal's sessions."""
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
            self._journal.add_present(session.id for session in page)
            link = response.http_response.links.get("next", {}).get("url")
            if link is None:
                # The vendor's server does not link its pages.
                self._is_whole = len(page) < constants.PAGE_LIMIT_MAX or cursor is not None
                return
            cursor = parse_qs(urlsplit(link).query)["cursor"][0]

    def is_known(self, session_id: str) -> bool:
        """Tell whether a session is known to be there, without asking."""
        return self.notice is not None or self._journal.is_present(session_id)

    async def is_there(self, session_id: str) -> bool:
        """Tell whether a session is on the server."""
        if self.is_known(session_id):
            return True
        return not self._is_whole and await is_there(self._client, session_id)


async def is_there(client: "sessionary.AsyncClient", session_id: str) -> bool:
    """Ask a server for a session."""
    try:
        await client.get_session(session_id, messages_limit=1)
    except NotFoundError:
        return False
    except PermissionDeniedError:
        # A token that may only write cannot ask.
        return True
    return True
