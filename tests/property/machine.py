"""Applies the same commands to an engine and to the reference, and compares all results."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from sessionary.errors import PreconditionFailedError, SessionaryError, SessionNotFoundError
from sessionary.server.store.base import Command, Conversation, ListQuery, Outcome, Page, SweepResult, Window
from tests.conformance.builders import DAY, HOUR, MINUTE, Ids, ManualClock, sweep_all
from tests.property.commands import (
    GROUPS,
    MODELS,
    ORGANISATIONS,
    USERS,
    Draft,
    Scenario,
    batches,
    create_drafts,
    described,
    plain,
)

Result = TypeVar("Result")

LONG = 40 * DAY
"""By then everything has expired: the longest session, the farthest extension, every key."""


class Engine(Protocol):
    """What the machine drives: all of a store but its tokens."""

    async def apply(self, command: Command) -> Outcome: ...
    async def fetch(self, organisation: str, session_id: str, window: Window | None = None) -> Conversation: ...
    async def list_sessions(self, query: ListQuery) -> Page: ...
    async def sweep(self, limit: int) -> SweepResult: ...


class Comparison(RuleBasedStateMachine):
    """An engine that starts empty, and the reference: both must give the same results."""

    def __init__(self, runner: asyncio.Runner, engine: Engine, clock: ManualClock, ids: Ids) -> None:
        super().__init__()
        self._runner = runner
        self._engine = engine
        self._clock = clock
        self._scenario = Scenario(clock, ids)
        self._steps = 0
        self._swept_ahead = 0
        self._applied: list[Command] = []

    @initialize(given=st.lists(create_drafts, min_size=1, max_size=3))
    def begin(self, given: list[Draft]) -> None:
        """Create some sessions."""
        self._batch(given)

    @rule(given=described)
    def command(self, given: Draft) -> None:
        """Apply one command."""
        self._batch([given])

    @rule(given=batches)
    def batch(self, given: list[Draft]) -> None:
        """Apply several commands at once."""
        self._batch(given)

    @rule(given=batches)
    def another_batch(self, given: list[Draft]) -> None:
        """Do so more often than the rest."""
        self._batch(given)

    @rule(which=st.lists(st.integers(0, 20), min_size=1, max_size=4))
    def again(self, which: list[int]) -> None:
        """Repeat earlier commands, as a caller does that got no response."""
        commands = [self._scenario.repeated(self._applied[-1 - number % len(self._applied)]) for number in which]
        expected = self._run(_apply_each(self._scenario.reference, commands))
        self._compare_outcomes(self._run(_apply_each(self._engine, commands)), expected)
        self._compare_everything()

    @rule(step=st.sampled_from([1, 1, 999, MINUTE, MINUTE, 5 * MINUTE - 1, 5 * MINUTE, HOUR, DAY - 1, DAY]))
    def move(self, step: int) -> None:
        """Let time pass."""
        self._clock.move(step)
        self._compare_everything()

    @rule(before=st.sampled_from([0, 0, 1]))
    def move_to_the_next_expiry(self, before: int) -> None:
        """Let time pass until something expires, or to the moment before."""
        expiries = self._scenario.reference.expiries()
        coming = [expiry - before for expiry in expiries if expiry - before > self._clock()]
        if coming:
            self._clock.move(coming[0] - self._clock())
        self._compare_everything()

    @rule(limit=st.sampled_from([1, 2, 3, 100]), idempotency_key=st.booleans())
    def sweep(self, limit: int, *, idempotency_key: bool) -> None:
        """Sweep once, or until nothing is due: then as many sessions are gone as have expired."""
        if idempotency_key:
            swept = self._run(self._engine.sweep(limit))
            assert 0 <= swept.removed <= limit
            # Which of the expired ones went first is the engine's business; how many are left is not.
            self._swept_ahead += swept.removed
        else:
            self._sweep_both(limit)
        self._compare_everything()

    @rule(
        which=st.integers(0, 7),
        window=st.builds(
            Window, st.none() | st.integers(0, 12) | st.just(2**31 - 1), st.none() | st.integers(1, 9) | st.just(1000)
        ),
    )
    def check_schema(self, which: int, window: Window) -> None:
        """Read messages through a window."""
        if self._scenario.sessions:
            name = self._scenario.sessions[which % len(self._scenario.sessions)]
            self._run(self._compare_fetch(*name, window))

    @rule(
        organisation=st.sampled_from(ORGANISATIONS),
        user_id=st.sampled_from([None, None, *USERS]),
        session_group=st.sampled_from([None, *GROUPS]),
        model=st.sampled_from([None, *MODELS]),
        status=st.sampled_from([None, "active", "completed"]),
        limit=st.integers(1, 5),
        offset=st.integers(0, 4),
    )
    def filter(self, **filters: Any) -> None:
        """List what matches, in offset pages and after each session."""

        async def compare() -> None:
            await self._compare_list(ListQuery(**filters))
            for _, session_id in self._scenario.sessions[-4:]:
                await self._compare_list(ListQuery(**filters, after=session_id))

        self._run(compare())

    def teardown(self) -> None:
        """Leave the engine empty for the next example, the way a sweeper does."""
        self._clock.move(LONG)
        self._sweep_both(limit=1000)
        self._compare_everything()

    def _batch(self, given: list[Draft]) -> None:
        commands, expected = self._run(self._scenario.apply_to_reference(given))
        self._applied += commands
        self._compare_outcomes(self._run(_apply_each(self._engine, commands)), expected)
        self._compare_everything()

    def _sweep_both(self, limit: int) -> None:
        removed = self._swept_ahead + self._run(self._sweep_in_pieces(limit))
        self._swept_ahead = 0
        assert removed == self._run(sweep_all(self._scenario.reference))

    def _compare_outcomes(self, got: list[Outcome], expected: list[Outcome]) -> None:
        assert list(map(_comparable, got)) == list(map(_comparable, expected))

    def _compare_everything(self) -> None:
        self._steps += 1

        async def compare() -> None:
            for organisation, session_id in self._scenario.sessions:
                for window in (None, Window(limit=1 + self._steps % 4)):
                    await self._compare_fetch(organisation, session_id, window)
                other = ORGANISATIONS[self._steps % len(ORGANISATIONS)]
                await self._compare_fetch(other, session_id, None)
            for organisation in ORGANISATIONS:
                await self._compare_list(ListQuery(organisation=organisation, limit=100))

        self._run(compare())

    async def _compare_fetch(self, organisation: str, session_id: str, window: Window | None) -> None:
        got = await _fetched(self._engine, organisation, session_id, window)
        expected = await _fetched(self._scenario.reference, organisation, session_id, window)
        assert got == expected

    async def _compare_list(self, query: ListQuery) -> None:
        got = await self._engine.list_sessions(query)
        expected = await self._scenario.reference.list_sessions(query)
        assert (plain(b"[%b]" % got.sessions), got.after) == (plain(b"[%b]" % expected.sessions), expected.after)

    async def _sweep_in_pieces(self, limit: int) -> int:
        removed = 0
        for _ in range(1000):
            swept = await self._engine.sweep(limit)
            assert 0 <= swept.removed <= limit
            removed += swept.removed
            if not swept.more:
                return removed
        raise AssertionError("the sweep never ends")

    def _run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(coroutine)


def _comparable(outcome: Outcome) -> object:
    if isinstance(outcome, PreconditionFailedError):
        return type(outcome), outcome.version
    return type(outcome) if isinstance(outcome, SessionaryError) else outcome


async def _fetched(engine: Engine, organisation: str, session_id: str, window: Window | None) -> object:
    try:
        shown = await engine.fetch(organisation, session_id, window)
    except SessionNotFoundError:
        return SessionNotFoundError
    summary, metadata = plain(b"{%b}" % shown.summary), plain(shown.metadata)
    return shown.version, summary, metadata, shown.messages, shown.offset


async def _apply_each(engine: Engine, commands: Sequence[Command]) -> list[Outcome]:
    """Apply commands that arrive at the same time, in this order: one batch, where the engine makes batches."""
    return list(await asyncio.gather(*map(engine.apply, commands)))
