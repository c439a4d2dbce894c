"""Finding out whether a server keeps the times that a file brings."""

import contextlib
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from sessionary.cli.transfer.times import time_from
from sessionary.errors import InvalidRequestError, PermissionDeniedError, SessionaryError

if TYPE_CHECKING:
    import sessionary

LOST: Final = (
    "Times were not kept, for the token has no scope sessions:import: they are in the metadata of the sessions, and "
    "the oldest came first. To keep them, import with a token that has this scope."
)
LOST_BY_SERVER: Final = (
    "Times were not kept, for this server cannot: they are in the metadata of the sessions, and the oldest came first."
)
_NEVER: Final = "9998-01-01T00:00:00.000Z"
_PROBE: Final = "import-probe"
_SLACK: Final = timedelta(seconds=3)
"""A server's ``Date`` counts whole seconds, and may be a little late."""


class Times:
    """Whether times are kept: asked once, when the first one comes up."""

    def __init__(self, client: "sessionary.AsyncClient | None") -> None:
        """Ask this client's server; without a client, times are kept."""
        self._client: Final = client
        self._kept: bool | None = None if client else True
        self.notice: str | None = None

    async def kept(self) -> bool:
        """Tell whether the server keeps times; raises SessionaryError."""
        if self._kept is None and self._client is not None:
            self._kept = await self._asked(self._client)
        return bool(self._kept)

    async def _asked(self, client: "sessionary.AsyncClient") -> bool:
        # No session is ever of the future: a server that keeps times refuses this one, and so none is made.
        try:
            made = await client.create_session(_PROBE, expiration_minutes=5, created_at=_NEVER)
        except InvalidRequestError:
            return True
        except PermissionDeniedError:
            self.notice = LOST
            return False
        self.notice = LOST_BY_SERVER
        with contextlib.suppress(SessionaryError):
            await client.delete_session(made.session_id)
        return False


def latest_time(date: str | None = None) -> str:
    """Say what the time is at most, by a server's ``Date`` or else by this machine's clock."""
    now = datetime.now(UTC)
    if date is not None:
        with contextlib.suppress(ValueError):
            now = parsedate_to_datetime(date)
    return time_from((now + _SLACK).isoformat()) or ""
