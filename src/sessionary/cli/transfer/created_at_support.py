"""Finds out whether the server accepts `created_at` from this token."""

import contextlib
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from sessionary.cli.transfer.times import parse_time
from sessionary.errors import InvalidRequestError, PermissionDeniedError, SessionaryError

if TYPE_CHECKING:
    import sessionary

SCOPE_IS_MISSING: Final = (
    "Times were not kept, because the token lacks the scope sessions:import. They are in the metadata of the sessions, "
    "and the oldest was imported first. To keep times, import with a token that has this scope."
)
SERVER_IGNORES_TIMES: Final = (
    "Times were not kept, because this server does not support it. They are in the metadata of the sessions, and the "
    "oldest was imported first."
)
_FAR_FUTURE: Final = "9998-01-01T00:00:00.000Z"
_PROBE: Final = "import-probe"
_TOLERANCE: Final = timedelta(seconds=3)
"""A server's ``Date`` has whole seconds and may be slightly behind."""


class CreatedAtSupport:
    """Whether the server accepts timestamps; checked once, when the first one occurs."""

    def __init__(self, client: "sessionary.AsyncClient") -> None:
        """Check with this client's server."""
        self._client: Final = client
        self._is_supported: bool | None = None
        self.notice: str | None = None

    async def is_supported(self) -> bool:
        """Return whether the server accepts timestamps; raises SessionaryError."""
        if self._is_supported is None:
            self._is_supported = await self._check()
        return self._is_supported

    async def _check(self) -> bool:
        # A server that accepts timestamps rejects this one, because it is in the future: no session is created.
        try:
            created = await self._client.create_session(_PROBE, expiration_minutes=5, created_at=_FAR_FUTURE)
        except InvalidRequestError:
            return True
        except PermissionDeniedError:
            self.notice = SCOPE_IS_MISSING
            return False
        self.notice = SERVER_IGNORES_TIMES
        with contextlib.suppress(SessionaryError):
            await self._client.delete_session(created.session_id)
        return False


def latest_time(date: str | None = None) -> str:
    """Return the latest timestamp that can be valid, by the server's ``Date`` or else by this machine's clock."""
    now = datetime.now(UTC)
    if date is not None:
        with contextlib.suppress(ValueError):
            now = parsedate_to_datetime(date)
    return parse_time((now + _TOLERANCE).isoformat()) or ""
