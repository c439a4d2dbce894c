"""Sending records, several at a time, each exactly once."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from sessionary.cli.transfer.journal import Entry, Journal
from sessionary.cli.transfer.pieces import Piece, Pieces
from sessionary.cli.transfer.reasons import Unreadable
from sessionary.cli.transfer.rejects import Rejects, Tally
from sessionary.cli.transfer.shapes import Record, read_record
from sessionary.cli.transfer.steps import Step, steps_of
from sessionary.errors import Forbidden, InvalidRequest, NotFound, TooLarge
from sessionary.model import IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, JsonObject

if TYPE_CHECKING:
    import sessionary

_SESSIONS_AT_ONCE: Final = 8
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""How much of a file is on its way at once; one record alone may be longer."""


class Plan(Struct, frozen=True):
    """What holds for every record of an import."""

    defaults: JsonObject
    """Members of a session for those that do not name them."""
    expiration_minutes: int


class Import:
    """The import of one file. A record that is refused is rejected alone; any other failure ends the import."""

    def __init__(
        self, client: "sessionary.AsyncClient", journal: Journal, rejects: Rejects, plan: Plan, tally: Tally
    ) -> None:
        """Begin with nothing on its way."""
        self._client: Final = client
        self._journal: Final = journal
        self._rejects: Final = rejects
        self._plan: Final = plan
        self._tally: Final = tally
        self._source: Final = Path(tally.file).name.encode("utf-8", "surrogateescape")
        self._sending: Final[dict[asyncio.Task[None], int]] = {}

    async def run(self, pieces: Pieces, advance: Callable[[int], None]) -> None:
        """Send what is not there yet; what is on its way when something fails is brought to its end."""
        position = 0
        # From any answer the client learns whether this server honours idempotency keys, and so what it may repeat.
        with contextlib.suppress(Forbidden):
            await self._client.list_sessions(limit=1)
        try:
            for piece in pieces.found:
                await self._admit(piece, pieces.unit)
                advance(piece.position - position)
                position = piece.position
                # A long record need not stay while the next one is read.
                del piece
        finally:
            await self._wait(room_for=None)

    async def _admit(self, piece: Piece, unit: str) -> None:
        place = f"{unit} {piece.number}"
        if piece.text is None:
            self._rejects.add(place, "It is too long.")
            return
        try:
            entry = self._journal.find(piece.text, place)
            if entry.complete:
                self._tally.already_there += 1
                return
            # As an object a record takes several times its length: none is read before there is room for it.
            await self._wait(room_for=len(piece.text))
            shape, record = read_record(piece.text, self._plan.defaults)
            steps = self._planned(record, len(piece.text))
        except Unreadable as error:
            self._rejects.add(place, error.reason)
            return
        self._tally.shapes[shape] = self._tally.shapes.get(shape, 0) + 1
        self._sending[asyncio.create_task(self._send(entry, steps))] = len(piece.text)

    def _planned(self, record: Record, size: int) -> list[Step]:
        try:
            return steps_of(record, size, self._plan.expiration_minutes)
        except (OverflowError, ValueError, RecursionError) as error:
            raise Unreadable(f"It cannot be sent as JSON: {error}.") from error

    async def _wait(self, room_for: int | None) -> None:
        """Wait until there is room for a record of so many bytes, or until nothing is on its way; raises its error."""
        failures: list[BaseException] = []
        while self._sending and (failures or self._is_full(room_for)):
            done, _ = await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del self._sending[task]
                failures += [error] if (error := task.exception()) else []
        if failures:
            raise failures[0]

    def _is_full(self, room_for: int | None) -> bool:
        if room_for is None or len(self._sending) == _SESSIONS_AT_ONCE:
            return True
        return sum(self._sending.values()) + room_for > _BYTES_AT_ONCE

    async def _send(self, entry: Entry, steps: list[Step]) -> None:
        begun_before, new = bool(entry.session_id), False
        try:
            for number in range(entry.steps, len(steps)):
                entry, done = await self._take(entry, steps[number], number)
                entry = entry._replace(steps=number + 1, complete=number + 1 == len(steps))
                self._journal.note(entry)
                new = new or done
        except (InvalidRequest, TooLarge) as error:
            await self._take_back(entry)
            self._rejects.add(entry.place, error.detail)
        except NotFound:
            if begun_before:
                # The session that an earlier run began has expired or was deleted since.
                await self._send(entry._replace(session_id="", steps=0), steps)
            elif entry.session_id:
                self._journal.forget(entry)
                self._rejects.add(entry.place, f"Its session was removed meanwhile: {entry.session_id}.")
            else:
                raise
        else:
            self._tally.imported += new
            self._tally.already_there += not new

    async def _take(self, entry: Entry, step: Step, number: int) -> tuple[Entry, bool]:
        """Take a step, or learn from the server that an earlier run took it; tells which."""
        # Equal lines of two files become two sessions.
        key = entry.key_of(self._source + step.spelled(number))
        options: Any = {"headers": {IDEMPOTENCY_KEY: f'"{key}"'}}
        if step.operation == "create":
            created, response = await self._client.create_session.with_response(**step.arguments, **options)
            begun = entry._replace(session_id=created.session_id)
            if IDEMPOTENT_REPLAYED in response.headers and not await self._is_there(begun.session_id):
                # It was deleted since. Its id makes the next key another one.
                return await self._take(begun, step, number)
            return begun, IDEMPOTENT_REPLAYED not in response.headers
        call = self._client.update_session if step.operation == "update" else self._client.extend_session
        _, response = await call.with_response(entry.session_id, **step.arguments, **options)
        return entry, IDEMPOTENT_REPLAYED not in response.headers

    async def _is_there(self, session_id: str) -> bool:
        try:
            await self._client.get_session(session_id, messages_limit=1)
        except NotFound:
            return False
        except Forbidden:
            # A token that may only write cannot ask.
            return True
        return True

    async def _take_back(self, entry: Entry) -> None:
        if entry.session_id:
            await self._client.delete_session(entry.session_id)
            self._journal.forget(entry)
