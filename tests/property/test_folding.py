"""Properties of `decide` and `fold` alone: pure, and a batch is nothing but its commands one after another."""

import asyncio
from collections.abc import Sequence
from copy import deepcopy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionary.errors import SessionaryError
from sessionary.server.store.base import Command, Outcome
from sessionary.server.store.rules import Folded, decide, fold, once_key
from tests.conformance.making import DAY, HOUR, MINUTE, HandClock, Ids
from tests.property.commands import Given, Story, batches, beginnings
from tests.property.folded import FoldedStore
from tests.property.profiles import search

# A failure is made smaller before it is shown, which takes minutes.
pytestmark = pytest.mark.timeout(1800)

steps = st.sampled_from([0, 1, MINUTE, HOUR, DAY])
stories = st.tuples(
    st.lists(beginnings, min_size=1, max_size=3),
    st.lists(st.tuples(batches, steps), min_size=1, max_size=4),
)
Told = tuple[list[Given], list[tuple[list[Given], int]]]


def tell(story: Told) -> tuple[list[tuple[list[Command], list[Outcome]]], list[int]]:
    """Make a story's commands, with what the reference says of each, and the instant of each batch."""
    clock = HandClock()
    teller = Story(clock, Ids())

    async def tell_all() -> tuple[list[tuple[list[Command], list[Outcome]]], list[int]]:
        told, instants = [], []
        for described, step in [(story[0], 0), *story[1]]:
            clock.move(step)
            told.append(await teller.tell(described))
            instants.append(clock())
        return told, instants

    return asyncio.run(tell_all())


def comparable(outcomes: Sequence[Outcome]) -> list[object]:
    return [
        (type(outcome), outcome.detail) if isinstance(outcome, SessionaryError) else outcome for outcome in outcomes
    ]


def fold_on(store: FoldedStore, commands: Sequence[Command], now: int) -> Folded:
    """Fold on what a store keeps, and see that what was read stays as it was."""
    stored, keys = store.locked(commands), store.locked_keys(commands)
    before = deepcopy((stored, keys, list(commands)))
    folded = fold(commands, stored, keys, now)
    assert (stored, keys, list(commands)) == before
    return folded


@search(examples=150)
@given(stories)
def test_folding_a_batch_equals_folding_its_commands_one_after_another(story: Told) -> None:
    told, instants = tell(story)
    clock = HandClock()
    together, alone = FoldedStore(clock), FoldedStore(clock)

    for (commands, expected), now in zip(told, instants, strict=True):
        clock.now = now
        outcomes = together.run(commands)
        one_by_one = [alone.run([command])[0] for command in commands]
        assert comparable(outcomes) == comparable(one_by_one)
        assert list(map(type, outcomes)) == list(map(type, expected))
        assert together.sessions == alone.sessions
        assert together.turns == alone.turns
        assert together.keys == alone.keys


@search(examples=150)
@given(stories)
def test_rows_are_written_once_and_in_order_and_nothing_read_is_changed(story: Told) -> None:
    told, instants = tell(story)
    clock = HandClock()
    store = FoldedStore(clock)

    for (commands, _), now in zip(told, instants, strict=True):
        clock.now = now
        folded = fold_on(store, commands, now)
        inserted = [(session.organisation, session.id) for session in folded.inserted]
        updated = [(session.organisation, session.id) for session in folded.updated]
        turns = [(turn.organisation, turn.session_id, turn.first) for turn in folded.turns]
        keys = [(key.organisation, key.principal, key.command, key.key) for key in folded.keys]
        for rows in (folded.deleted, inserted, updated, turns, keys, folded.outdated_keys):
            assert list(rows) == sorted(set(rows))
        assert not set(updated) & {*inserted, *folded.deleted}
        assert {(turn.organisation, turn.session_id) for turn in folded.turns} <= {*inserted, *updated}
        assert set(folded.outdated_keys) <= set(keys)
        assert len(folded.outcomes) == len(commands)
        store.run(commands)


@search(examples=150)
@given(stories)
def test_deciding_changes_no_state_and_says_the_same_twice(story: Told) -> None:
    told, instants = tell(story)
    clock = HandClock()
    store = FoldedStore(clock)

    for (commands, _), now in zip(told, instants, strict=True):
        clock.now = now
        for command in commands:
            state = store.sessions.get((command.organisation, command.session_id))
            before = deepcopy(state)
            after, outcome, turn = decide(state, command, now)
            after_again, outcome_again, turn_again = decide(state, command, now)

            assert state == before
            assert (after, turn) == (after_again, turn_again)
            assert comparable([outcome]) == comparable([outcome_again])
            if isinstance(outcome, SessionaryError):
                assert after is state
                assert turn is None
            elif state is not None and after is not None and after is not state:
                assert after.version in (1, state.version + 1)
            if once_key(command) is None:
                store.run([command])


@search(examples=100)
@given(stories)
def test_a_turn_follows_the_last_one_without_a_gap(story: Told) -> None:
    told, instants = tell(story)
    clock = HandClock()
    store = FoldedStore(clock)

    for (commands, _), now in zip(told, instants, strict=True):
        clock.now = now
        store.run(commands)

    for (organisation, session_id), session in store.sessions.items():
        turns = sorted(
            (turn for name, turn in store.turns.items() if name[:2] == (organisation, session_id)),
            key=lambda turn: turn.first,
        )
        expected = 0
        for turn in turns:
            assert turn.first == expected
            assert len(msgspec.json.decode(b"[" + turn.body + b"]")) == turn.count
            expected += turn.count
        assert session.total_messages == expected
        assert session.total_bytes == sum(len(turn.body) for turn in turns)
        assert session.total_tokens >= sum(turn.tokens for turn in turns)
