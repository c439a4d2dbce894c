"""A session is deleted, and a token created or revoked, in one transaction with its audit record."""

import asyncio

import msgspec
import pytest

from sessionary.errors import SessionNotFoundError, StoreUnavailableError, TokenNotFoundError
from sessionary.server.store.base import AuditRecord, Deleted, Store
from tests.conformance.builders import (
    DAY,
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_one,
    create_session,
    delete,
    key,
    sweep_all,
    user,
)


def record(clock: ManualClock, action: str, subject: str, actor: str, organisation: str | None = "demo") -> AuditRecord:
    fields = {"at": clock(), "organisation": organisation, "actor": actor, "action": action, "subject": subject}
    return msgspec.convert(fields, AuditRecord)


def without_number(found: AuditRecord) -> AuditRecord:
    return msgspec.structs.replace(found, number=0)


async def audit(store: Store) -> list[AuditRecord]:
    return [without_number(found) for found in await store.list_audit(1_000)]


async def test_a_deletion_is_recorded_with_who_and_when(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    session = await create_session(store, build.create(user("a secret")))
    clock.move(5)

    await apply_one(store, msgspec.structs.replace(delete(session), actor="token-1"), Deleted)

    assert await audit(store) == [record(clock, "delete_session", session.session_id, "token-1")]


async def test_what_deletes_nothing_is_not_recorded(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    of_other_tenant = msgspec.structs.replace(delete(session), organisation="other")

    await apply_one(store, of_other_tenant, SessionNotFoundError)
    await apply_one(store, delete(session, if_version=1), Deleted)
    await apply_one(store, delete(session), SessionNotFoundError)

    assert len(await audit(store)) == 1


async def test_a_deletion_that_is_repeated_is_recorded_once(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    command = delete(session, idempotency_key=key("k"))

    first = await apply_one(store, command, Deleted)
    again = await apply_one(store, command, Deleted)

    assert (first.replayed, again.replayed) == (False, True)
    assert len(await audit(store)) == 1


async def test_a_session_created_and_deleted_in_one_batch_is_recorded(store: Store, build: CommandBuilder) -> None:
    session = build.create()

    await apply_all(store, [session, delete(session)])

    assert [found.subject for found in await audit(store)] == [session.session_id]


async def test_deletions_in_one_batch_are_recorded_in_order(store: Store, build: CommandBuilder) -> None:
    sessions = [await create_session(store, build.create()) for _ in range(5)]
    backwards = [delete(session) for session in reversed(sessions)]

    await asyncio.gather(*(store.apply(command) for command in backwards))

    assert sorted(found.subject for found in await audit(store)) == [session.session_id for session in sessions]


async def test_expiry_is_not_audited(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    await create_session(store, build.create())
    clock.move(DAY)
    assert await sweep_all(store) == 1

    assert await audit(store) == []


async def test_a_token_is_recorded_when_it_is_made_and_when_it_is_revoked(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    await store.create_token(build.token("t1"), "operator ada")
    await store.create_token(build.token("t2", organisation=None))
    made = [record(clock, "create_token", "t1", "operator ada"), record(clock, "create_token", "t2", "operator", None)]
    assert await audit(store) == made
    clock.move(7)

    await store.revoke_token("t1", "operator bob")

    assert await audit(store) == [*made, record(clock, "revoke_token", "t1", "operator bob")]


async def test_a_token_that_was_not_made_or_was_revoked_before_is_not_recorded(
    store: Store, build: CommandBuilder
) -> None:
    await store.create_token(build.token("t1"))
    with pytest.raises(StoreUnavailableError):
        await store.create_token(build.token("t1"))
    await store.revoke_token("t1")
    await store.revoke_token("t1")
    with pytest.raises(TokenNotFoundError):
        await store.revoke_token("nobody")

    assert [found.action for found in await audit(store)] == ["create_token", "revoke_token"]


async def test_an_added_audit_record_is_stored_as_given(store: Store, clock: ManualClock) -> None:
    export = record(clock, "export_sessions", "demo", "token-1")

    await store.note(export)

    assert await audit(store) == [export]


async def test_records_come_in_pages_in_the_order_they_were_made(store: Store, clock: ManualClock) -> None:
    for number in range(5):
        await store.note(record(clock, "export_sessions", str(number), "token-1"))
    found: list[AuditRecord] = []
    while page := await store.list_audit(2, found[-1].number if found else 0):
        assert len(page) <= 2
        found += page

    assert [each.subject for each in found] == list("01234")
    assert [each.number for each in found] == sorted({each.number for each in found})


async def test_audit_records_are_stored_for_thirteen_months(store: Store, clock: ManualClock) -> None:
    for number in range(3):
        await store.note(record(clock, "export_sessions", str(number), "token-1"))
    clock.move(400 * DAY - 1)
    await store.note(record(clock, "export_sessions", "late", "token-1"))
    await sweep_all(store)
    assert len(await audit(store)) == 4

    clock.move(1)
    swept = await store.sweep(2)

    assert swept.more
    await sweep_all(store)
    assert [found.subject for found in await audit(store)] == ["late"]
