"""Properties of `apply_command` and `apply_commands`: pure, and a batch equals its commands one after another."""

import asyncio
from collections.abc import Sequence
from copy import deepcopy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionary.errors import SessionaryError
from sessionary.server.store.base import Command, Outcome
from sessionary.server.store.rules import BatchResult, apply_command, apply_commands, idempotency_key_id
from tests.conformance.builders import DAY, HOUR, MINUTE, Ids, ManualClock
from tests.property.commands import Draft, Scenario, batches, create_drafts
from tests.property.dictionary_store import DictionaryStore
from tests.property.profiles import search

# A failure is made smaller before it is shown, which takes minutes.
pytestmark = pytest.mark.timeout(1800)

steps = st.sampled_from([0, 1, MINUTE, HOUR, DAY])
scenarios = st.tuples(
    st.lists(create_drafts, min_size=1, max_size=3),
    st.lists(st.tuples(batches, steps), min_size=1, max_size=4),
)
Drafts = tuple[list[Draft], list[tuple[list[Draft], int]]]


def run_on_reference(scenario: Drafts) -> tuple[list[tuple[list[Command], list[Outcome]]], list[int]]:
    """Make the commands of a scenario; return them with the expected outcomes, and the time of each batch."""
    clock = ManualClock()
    maker = Scenario(clock, Ids())

    async def apply_all_to_reference() -> tuple[list[tuple[list[Command], list[Outcome]]], list[int]]:
        applied, times = [], []
        for described, step in [(scenario[0], 0), *scenario[1]]:
            clock.move(step)
            applied.append(await maker.apply_to_reference(described))
            times.append(clock())
        return applied, times

    return asyncio.run(apply_all_to_reference())


def comparable(outcomes: Sequence[Outcome]) -> list[object]:
    return [
        (type(outcome), outcome.detail) if isinstance(outcome, SessionaryError) else outcome for outcome in outcomes
    ]


def apply_on(store: DictionaryStore, commands: Sequence[Command], now: int) -> BatchResult:
    """Apply commands to what a store holds, and check that what was read is not modified."""
    stored, keys = store.locked(commands), store.locked_keys(commands)
    before = deepcopy((stored, keys, list(commands)))
    result = apply_commands(commands, stored, keys, now)
    assert (stored, keys, list(commands)) == before
    return result


@search(examples=150)
@given(scenarios)
def test_applying_a_batch_equals_applying_its_commands_one_after_another(scenario: Drafts) -> None:
    applied, times = run_on_reference(scenario)
    clock = ManualClock()
    together, alone = DictionaryStore(clock), DictionaryStore(clock)

    for (commands, expected), now in zip(applied, times, strict=True):
        clock.now = now
        outcomes = together.run(commands)
        one_by_one = [alone.run([command])[0] for command in commands]
        assert comparable(outcomes) == comparable(one_by_one)
        assert list(map(type, outcomes)) == list(map(type, expected))
        assert together.sessions == alone.sessions
        assert together.blocks == alone.blocks
        assert together.keys == alone.keys


@search(examples=150)
@given(scenarios)
def test_rows_are_written_once_and_in_order_and_nothing_read_is_changed(scenario: Drafts) -> None:
    applied, times = run_on_reference(scenario)
    clock = ManualClock()
    store = DictionaryStore(clock)

    for (commands, _), now in zip(applied, times, strict=True):
        clock.now = now
        result = apply_on(store, commands, now)
        inserted = [(session.organisation, session.id) for session in result.inserted]
        updated = [(session.organisation, session.id) for session in result.updated]
        blocks = [(block.organisation, block.session_id, block.first) for block in result.blocks]
        keys = [(key.organisation, key.principal, key.command, key.key) for key in result.keys]
        for rows in (result.deleted, inserted, updated, blocks, keys):
            assert list(rows) == sorted(set(rows))
        assert not set(updated) & {*inserted, *result.deleted}
        assert {(block.organisation, block.session_id) for block in result.blocks} <= {*inserted, *updated}
        assert len(result.outcomes) == len(commands)
        store.run(commands)


@search(examples=150)
@given(scenarios)
def test_applying_a_command_changes_no_state_and_is_deterministic(scenario: Drafts) -> None:
    applied, times = run_on_reference(scenario)
    clock = ManualClock()
    store = DictionaryStore(clock)

    for (commands, _), now in zip(applied, times, strict=True):
        clock.now = now
        for command in commands:
            state = store.sessions.get((command.organisation, command.session_id))
            before = deepcopy(state)
            after, outcome, block = apply_command(state, command, now)
            after_again, outcome_again, block_again = apply_command(state, command, now)

            assert state == before
            assert (after, block) == (after_again, block_again)
            assert comparable([outcome]) == comparable([outcome_again])
            if isinstance(outcome, SessionaryError):
                assert after is state
                assert block is None
            elif state is not None and after is not None and after is not state:
                assert after.version in (1, state.version + 1)
            if idempotency_key_id(command) is None:
                store.run([command])


@search(examples=100)
@given(scenarios)
def test_a_message_block_follows_the_last_one_without_a_gap(scenario: Drafts) -> None:
    applied, times = run_on_reference(scenario)
    clock = ManualClock()
    store = DictionaryStore(clock)

    for (commands, _), now in zip(applied, times, strict=True):
        clock.now = now
        store.run(commands)

    for (organisation, session_id), session in store.sessions.items():
        blocks = sorted(
            (block for name, block in store.blocks.items() if name[:2] == (organisation, session_id)),
            key=lambda block: block.first,
        )
        expected = 0
        for block in blocks:
            assert block.first == expected
            assert len(msgspec.json.decode(b"[" + block.body + b"]")) == block.count
            expected += block.count
        assert session.total_messages == expected
        assert session.total_bytes == sum(len(block.body) for block in blocks)
        assert session.total_tokens >= sum(block.tokens for block in blocks)
