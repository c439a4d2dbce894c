"""Two organisations with the same names and ids, and everything that a store can do for them."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from sessionary.errors import SessionaryError
from sessionary.server.store.base import Command, Create, ListQuery, Outcome, Store, Window
from tests.conformance.builders import (
    DAY,
    HOUR,
    MINUTE,
    ORGANISATION,
    OTHER,
    CommandBuilder,
    ManualClock,
    apply_all,
    assistant,
    delete,
    extend,
    key,
    list_query,
    update,
    user,
)

RowsOf = Callable[[str], Awaitable[object]]
"""Reads all rows of an organisation, past the contract."""

_BOTH: Final = (ORGANISATION, OTHER)
_FILTERS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"user_id": "ada"},
    {"session_group": "group"},
    {"model": "model"},
    {"status": "active"},
    {"user_id": "ada", "model": "model", "session_group": "group"},
    {"limit": 1},
    {"limit": 2, "offset": 1},
)
_WINDOWS: Final = (None, Window(limit=2), Window(offset=0, limit=4), Window(offset=3, limit=1))


class TwoTenants:
    """Runs a scenario on a store and collects all results; the same scenario on another store must give the same."""

    def __init__(self, store: Store, clock: ManualClock, rows_of: RowsOf) -> None:
        self.seen: list[object] = []
        self._store = store
        self._clock = clock
        self._rows_of = rows_of
        build = CommandBuilder(clock)
        self._lasting, self._given_up, self._brief, self._prolonged, self._lonely = (
            build.create(
                user(f"mine {number}"),
                user_id="ada",
                session_group="group",
                model="model",
                title=f"mine {number}",
                minutes=minutes,
                idempotency_key=key(f"begin {number}"),
            )
            for number, minutes in enumerate((3 * 24 * 60, 3 * 24 * 60, 5, 5, 3 * 24 * 60))
        )

    async def play(self) -> list[object]:
        """Run the scenario and return what was seen."""
        await self._begin()
        await self._change()
        await self._expire()
        await self._use_keys_again()
        records = await self._store.list_audit(100)
        self.seen.extend((record.organisation, record.action, record.subject) for record in records)
        return self.seen

    async def _begin(self) -> None:
        shared = (self._lasting, self._given_up, self._brief, self._prolonged)
        await self._apply(*shared, self._lonely)
        await self._apply(*map(_twin, shared))
        await self._read_all()

    async def _change(self) -> None:
        mine, theirs = self._lasting, _twin(self._lasting)
        # As many changes to the one as to the other, so that versions do not differ; blocks of other lengths.
        for _ in range(3):
            await self._apply(update(mine, user(), assistant(), user("more"), tokens_used=3))
            await self._apply(update(theirs, assistant("theirs"), user("theirs"), tokens_used=2))
        await self._apply(update(_twin(self._lonely), user("lost")), extend(_twin(self._lonely)))
        await self._apply(update(mine, metadata={"mine": 1}), update(theirs, metadata={"theirs": 2}))
        await self._read_all()
        await self._apply(update(mine, model="another", status="completed", title="changed"))
        await self._apply(update(theirs, tokens_used=1))
        await self._read_all()
        await self._apply(extend(theirs, 7))
        await self._apply(delete(self._given_up, idempotency_key=key("delete")))
        await self._read_all()
        await self._apply(extend(self._prolonged, 2 * 60), extend(_twin(self._prolonged), 2 * 60))

    async def _expire(self) -> None:
        """Mine expires first; theirs, with the same names, later or not at all."""
        self._clock.move(5 * MINUTE)
        await self._read_all()
        before = await self._rows_of(OTHER)
        await self._sweep()
        self.seen.append(await self._rows_of(OTHER) == before)
        await self._read_all()
        self._clock.move(5 * MINUTE)
        await self._sweep()
        await self._read_all()

    async def _use_keys_again(self) -> None:
        """Both use keys of the same name at different times, which expire a day later; one name only I use."""
        mine, theirs = self._lasting, _twin(self._lasting)
        again, swept, only = key("again"), key("swept"), key("only")
        await self._apply(
            update(mine, user("key"), idempotency_key=again), update(mine, user("key"), idempotency_key=swept)
        )
        self._clock.move(13 * HOUR)
        await self._apply(
            update(theirs, user("key"), idempotency_key=again), update(theirs, user("key"), idempotency_key=swept)
        )
        await self._apply(update(mine, user("only"), idempotency_key=only))
        self._clock.move(DAY - 12 * HOUR)
        # Expired keys are replaced.
        await self._apply(
            update(mine, user("anew"), idempotency_key=again),
            update(theirs, user("theirs"), idempotency_key=only),
            update(_twin(self._lonely), user("lost")),
        )
        await self._apply(update(theirs, user("again"), idempotency_key=again))
        await self._sweep()
        await self._apply(
            update(theirs, user("again"), idempotency_key=swept), update(mine, user("anew"), idempotency_key=swept)
        )
        # One has a key that the other has not, and no key has expired.
        await self._apply(update(mine, user(), idempotency_key=key("last")))
        await self._apply(update(theirs, user(), idempotency_key=key("last", fingerprint=b"theirs")))
        await self._read_all()

    async def _apply(self, *commands: Command) -> None:
        self.seen.extend(map(_comparable, await apply_all(self._store, commands)))

    async def _sweep(self) -> None:
        self.seen.append(await self._store.sweep(100))

    async def _read_all(self) -> None:
        """Read everything there is, as each of the two."""
        for organisation in _BOTH:
            for session in (self._lasting, self._given_up, self._brief, self._prolonged, self._lonely):
                for window in _WINDOWS:
                    self.seen.append(await self._fetched(organisation, session, window))
            for filters in _FILTERS:
                self.seen.append(await self._listed(list_query(organisation, **filters)))
            self.seen.append(await self._listed(list_query(organisation, after=self._brief.session_id)))
            self.seen.append(await self._store.measure_usage(organisation))

    async def _fetched(self, organisation: str, session: Command, window: Window | None) -> object:
        try:
            return await self._store.fetch(organisation, session.session_id, window)
        except SessionaryError as error:
            return type(error)

    async def _listed(self, query: ListQuery) -> object:
        try:
            return await self._store.list_sessions(query)
        except SessionaryError as error:
            return type(error)


def _twin(create: Create) -> Create:
    """Name the other organisation's session of the same id; it says something else and lives five minutes longer."""
    return msgspec.structs.replace(
        create,
        organisation=OTHER,
        title="theirs",
        messages=create.messages * 2,
        expires_after=create.expires_after + 5 * MINUTE,
    )


def _comparable(outcome: Outcome) -> object:
    return type(outcome) if isinstance(outcome, SessionaryError) else outcome
