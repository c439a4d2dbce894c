"""A conversation: one session, its messages, and methods that append to it."""

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Never, Self

from msgspec import UNSET, UnsetType

from sessionary.client.results import ExtendedSession, Session, UpdatedSession
from sessionary.client.transcripts import ConversationOptions, Transcript, merge_call_options
from sessionary.constants import ADDITIONAL_MINUTES_DEFAULT

if TYPE_CHECKING:
    from sessionary.client._async_client import AsyncClient


class AsyncConversation(Transcript):
    """A conversation in a stored session. Leaving its ``async with`` block sends nothing."""

    def __init__(
        self, client: "AsyncClient", user_id: str | None, session_id: str | None, options: ConversationOptions
    ) -> None:
        """Prepare a new conversation or an existing one; raises InvalidArgumentError unless one id is given."""
        super().__init__(user_id, session_id, options)
        self._client: Final = client

    async def __aenter__(self) -> Self:
        with self._creating() as creation:
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
        raise TypeError("A conversation cannot be pickled or copied: continue it by its session id.")

    async def say(  # noqa: PLR0913 - all arguments of the method
        self,
        role: str,
        content: Any,
        *,
        tokens_used: int | None = None,
        idempotency_key: str | None = None,
        timeout: float | UnsetType | None = UNSET,  # noqa: ASYNC109 - the deadline of the call
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> UpdatedSession:
        """Append one message, with any further members; raises SessionaryError.

        A member that looks like a mistyped argument is refused with TypeError.
        """
        message = self._make_message(role, content, members)
        options = merge_call_options(self._options, timeout, headers)
        updated = await self._client.update_session(
            self._known_id(),
            new_messages=[message],
            tokens_used=tokens_used,
            idempotency_key=idempotency_key,
            **options,
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
        """Let the session expire so many minutes later; raises SessionaryError."""
        options = merge_call_options(self._options, timeout, headers)
        extended = await self._client.extend_session(self._known_id(), minutes, **options)
        self._note_extended(extended)
        return extended

    async def complete(
        self,
        *,
        timeout: float | UnsetType | None = UNSET,  # noqa: ASYNC109 - as above
        headers: Mapping[str, str] | None = None,
    ) -> UpdatedSession:
        """Set the status to ``completed``; raises SessionaryError."""
        options = merge_call_options(self._options, timeout, headers)
        updated = await self._client.update_session(self._known_id(), status="completed", **options)
        self._note_updated(updated)
        return updated

    async def refresh(
        self,
        *,
        timeout: float | UnsetType | None = UNSET,  # noqa: ASYNC109 - as above
        headers: Mapping[str, str] | None = None,
    ) -> Session:
        """Read the conversation again, with what others have appended; raises SessionaryError."""
        options = merge_call_options(self._options, timeout, headers)
        session = await self._client.get_session(self._known_id(), **options)
        self._note_read(session)
        return session
