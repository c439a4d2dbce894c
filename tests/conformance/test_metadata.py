"""Metadata is merged by top-level key; null removes a key; all else comes back equal."""

from typing import Any

from sessionary.server.store.base import Store
from tests.conformance.builders import (
    MINUTE,
    CommandBuilder,
    ManualClock,
    apply_update,
    create_session,
    metadata_of,
    read,
    update,
)

LARGEST, SMALLEST = 2**64 - 1, -(2**63)


MERGES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {"a": 1}, {"a": 1}),
    ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ({"a": 1}, {"a": 2}, {"a": 2}),
    ({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"y": 2}}),
    ({"a": [1]}, {"a": [2]}, {"a": [2]}),
    ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
    ({"a": 1}, {"never": None}, {"a": 1}),
    ({"a": 1}, {"a": None, "b": None}, {}),
    ({"a": 1}, {"a": {"x": None}}, {"a": {"x": None}}),
    ({"a": 1}, {"a": [None]}, {"a": [None]}),
    ({"a": 1}, {}, {"a": 1}),
    ({"a": 1}, {"a": False, "b": 0, "c": ""}, {"a": False, "b": 0, "c": ""}),
    ({"": 1}, {"": None, "A": 1, "a": 2}, {"A": 1, "a": 2}),
]


async def test_metadata_is_merged_by_top_level_key(store: Store, build: CommandBuilder) -> None:
    for stored, given, merged in MERGES:
        session = await create_session(store, build.create(metadata=stored))

        await apply_update(store, update(session, metadata=given))

        assert metadata_of(await read(store, session)) == merged, (stored, given)


async def test_null_is_left_out_at_creation(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(metadata={"a": None, "b": {"c": None}}))

    assert metadata_of(await read(store, session)) == {"b": {"c": None}}


async def test_a_session_without_metadata_has_an_empty_object(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    assert (await read(store, session)).metadata == b"{}"


async def test_other_updates_leave_metadata_alone(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(metadata={"a": 1}))

    await apply_update(store, update(session, title="Title"))

    assert metadata_of(await read(store, session)) == {"a": 1}


VALUES: list[Any] = [
    LARGEST,
    SMALLEST,
    0.1,
    1e300,
    -1.5e-300,
    2**53 + 1,
    True,
    "\U0001f600 é \u2028 \x7f",
    "'\"\\/",
    [[[]]],
    {},
]


async def test_values_come_back_equal(store: Store, build: CommandBuilder) -> None:
    for value in VALUES:
        session = await create_session(store, build.create(metadata={"first": value}))

        await apply_update(store, update(session, metadata={"second": [value]}))
        await apply_update(store, update(session, metadata={"third": 3}))

        kept = metadata_of(await read(store, session))
        assert kept == {"first": value, "second": [value], "third": 3}
        assert type(kept["first"]) is type(value)


async def test_an_empty_metadata_is_a_change(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = await create_session(store, build.create(metadata={"a": 1}))
    clock.move(MINUTE)

    updated = await apply_update(store, update(session, metadata={}))

    assert (updated.version, updated.updated_at) == (2, clock())
    assert metadata_of(await read(store, session)) == {"a": 1}
