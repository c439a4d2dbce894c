"""Sending records, several at a time, each exactly once."""

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from sessionary.cli.transfer.journal import Entry, Journal
from sessionary.cli.transfer.keepingtimes import Times
from sessionary.cli.transfer.losttimes import has_times, move_times
from sessionary.cli.transfer.piece import Piece
from sessionary.cli.transfer.presence import Presence, is_there
from sessionary.cli.transfer.reasons import UnreadableError, refusal_of
from sessionary.cli.transfer.record import Reading
from sessionary.cli.transfer.rejects import Leftovers, Rejects, Tally
from sessionary.cli.transfer.shapes import Wanted, read_record
from sessionary.cli.transfer.steps import Step, digest_of, steps_of
from sessionary.errors import (
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RequestTooLargeError,
)
from sessionary.models import IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED

if TYPE_CHECKING:
    import sessionary

_SESSIONS_AT_ONCE: Final = 8
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""How much of a file is on its way at once; one record alone may be longer."""


class Plan(Struct, frozen=True):
    """What holds for every record of an import."""

    wanted: Wanted
    expiration_minutes: int


class Report(Struct, frozen=True):
    """Where it goes what became of records."""

    tally: Tally
    rejects: Rejects
    leftovers: Leftovers


class Import:
    """The import of one source. A record that is refused is rejected alone; any other failure ends the import."""

    def __init__(
        self, client: "sessionary.AsyncClient", journal: Journal, plan: Plan, report: Report, source: bytes
    ) -> None:
        """Begin with nothing on its way; equal lines of two sources become two sessions."""
        self._client: Final = client
        self._journal: Final = journal
        self._plan: Final = plan
        self._report: Final = report
        self._source: Final = source
        self._presence: Final = Presence(client, journal)
        self.times: Final = Times(client)
        self._sending: Final[dict[asyncio.Task[None], int]] = {}
        self._beginning: list[asyncio.Event] = []
        """Those of sessions on their way that are not there yet; each is set when its session is."""
        self._in_order = self._was_in_turn = False

    async def run(
        self, pieces: Iterator[Piece], place: str, advance: Callable[[int], None], *, in_order: bool = False
    ) -> None:
        """Send what is not there yet; what is on its way when something fails is brought to its end.

        ``in_order`` begins one session after another. ``place`` says what the pieces are, such as ``line``.
        """
        position = 0
        self._in_order = in_order
        await self._presence.learn()
        try:
            for piece in pieces:
                await self._admit(piece, f"{place} {piece.number}")
                advance(piece.position - position)
                position = piece.position
                # A long record need not stay while the next one is read.
                del piece
        finally:
            await self._wait(room_for=None)
            self._report.tally.notice(self._presence.notice)
            self._report.tally.notice(self.times.notice)

    async def _admit(self, piece: Piece, place: str) -> None:
        if piece.text is None or not piece.text:
            self._report.rejects.add(place, reason_of(piece, ""))
            return
        entry = self._journal.find(piece.text, place)
        if entry.complete and self._presence.is_known(entry.session_id):
            self._report.tally.already_there += 1
            return
        # As an object a record takes several times its length: none is read before there is room for it.
        await self._wait(room_for=len(piece.text))
        is_free = not (self._in_order or piece.in_turn or self._was_in_turn)
        self._was_in_turn = piece.in_turn
        self._beginning = [event for event in self._beginning if not event.is_set()]
        before = [] if is_free else self._beginning
        created = asyncio.Event()
        self._beginning = [*self._beginning, created]
        task = asyncio.create_task(self._deal(piece, entry, before, created))
        self._sending[task] = len(piece.text)

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

    async def _deal(self, piece: Piece, entry: Entry, before: list[asyncio.Event], created: asyncio.Event) -> None:
        """See to it that one record is on the server, or is rejected."""
        try:
            is_gone = entry.complete and not await self._presence.is_there(entry.session_id)
            if entry.complete and not is_gone:
                self._report.tally.already_there += 1
                return
            reading = read_record(piece.text or b"", self._plan.wanted)
            if has_times(reading.record) and not await self.times.kept():
                move_times(reading)
            steps = self._planned(reading, len(piece.text or b""))
            for earlier in before:
                await earlier.wait()
            await self._deliver(entry, steps, reading, created, is_gone=is_gone)
        except UnreadableError as error:
            self._report.rejects.add(entry.place, reason_of(piece, error.reason))
        finally:
            # The next record need not wait for what has failed.
            created.set()

    def _planned(self, reading: Reading, size: int) -> list[Step]:
        try:
            return steps_of(reading.record, size, self._plan.expiration_minutes)
        except (OverflowError, ValueError, RecursionError) as error:
            raise UnreadableError("It cannot be sent as JSON.") from error

    async def _deliver(
        self, entry: Entry, steps: list[Step], reading: Reading, created: asyncio.Event, *, is_gone: bool
    ) -> None:
        """Send a record whole, and count it."""
        plan = digest_of(steps)
        begun_before = bool(entry.session_id) and not is_gone
        if begun_before and entry.plan != plan:
            # It was begun in another way: going on would double or lose messages.
            await self._take_back(entry)
            begun_before = False
        if not begun_before:
            digest = self._journal.key_of(entry.record, reading.record.asks)
            if digest != entry.digest:
                self._journal.forget(entry)
            entry = entry._replace(digest=digest, session_id="", steps=0, complete=False, plan=plan)
        shapes = self._report.tally.shapes
        shapes[reading.format] = shapes.get(reading.format, 0) + 1
        self._report.leftovers.add(entry.place, reading.findings.leftovers)
        new = await self._sent(entry, steps, created, begun_before=begun_before)
        if new is None:
            return
        if not new:
            self._report.tally.already_there += 1
            return
        self._report.tally.count(len(reading.record.messages), reading.findings)
        self._report.tally.anew += is_gone

    async def _sent(
        self, entry: Entry, steps: list[Step], created: asyncio.Event, *, begun_before: bool
    ) -> bool | None:
        """Take the steps that are left; tells whether anything was new, or None for what was rejected."""
        new = False
        try:
            for number in range(entry.steps, len(steps)):
                entry, done = await self._take(entry, steps[number], number)
                entry = entry._replace(steps=number + 1, complete=number + 1 == len(steps))
                self._journal.note(entry)
                created.set()
                new = new or done
        except (InvalidArgumentError, InvalidRequestError, RequestTooLargeError) as error:
            await self._take_back(entry)
            self._report.rejects.add(entry.place, refusal_of(error))
            return None
        except NotFoundError:
            if begun_before:
                # The session that an earlier run began has expired or was deleted since.
                anew = entry._replace(session_id="", steps=0)
                return await self._sent(anew, steps, created, begun_before=False)
            if not entry.session_id:
                raise
            self._journal.forget(entry)
            self._report.rejects.add(entry.place, f"Its session was removed meanwhile: {entry.session_id}.")
            return None
        return new

    async def _take(self, entry: Entry, step: Step, number: int) -> tuple[Entry, bool]:
        """Take a step, or learn from the server that an earlier run took it; tells which."""
        # Equal lines of two files become two sessions.
        key = entry.key_of(self._source + step.encoded(number))
        options: Any = {"headers": {IDEMPOTENCY_KEY: f'"{key}"'}}
        if step.operation == "create":
            response = await self._client.with_raw_response.create_session(**step.arguments, **options)
            begun = entry._replace(session_id=response.parse().session_id)
            if IDEMPOTENT_REPLAYED in response.headers and not await is_there(self._client, begun.session_id):
                # It was deleted since. Its id makes the next key another one.
                return await self._take(begun, step, number)
            return begun, IDEMPOTENT_REPLAYED not in response.headers
        raw: Any = self._client.with_raw_response
        call = raw.update_session if step.operation == "update" else raw.extend_session
        response = await call(entry.session_id, **step.arguments, **options)
        return entry, IDEMPOTENT_REPLAYED not in response.headers

    async def _take_back(self, entry: Entry) -> None:
        if not entry.session_id:
            return
        try:
            await self._client.delete_session(entry.session_id)
        except NotFoundError:
            pass
        except PermissionDeniedError as error:
            raise UnreadableError(
                f"Half of it is in the session {entry.session_id}, which the token may not delete."
            ) from error
        self._journal.forget(entry)


def reason_of(piece: Piece, reason: str) -> str:
    """Say why a piece was left out."""
    if piece.text is None:
        return "It is too long."
    if not piece.text:
        return "The file ends here, though its array does not: it may have been cut off."
    return reason
