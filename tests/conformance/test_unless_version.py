"""A command whose ``unless_version`` is the session's version is refused with the version it has."""

from typing import Any

import msgspec
import pytest

from sessionary.errors import PreconditionFailedError, SessionNotFoundError
from sessionary.server.store.base import Command, Deleted, Extended, Store, Updated, Versions
from tests.conformance.builders import (
    CommandBuilder,
    apply_one,
    apply_update,
    create_session,
    delete,
    extend,
    read,
    update,
    user,
)


def unless(command: Command, version: Versions) -> Any:
    """Make a command that is not meant for these versions."""
    return msgspec.structs.replace(command, unless_version=version)


@pytest.mark.parametrize("ruled_out", [2, (2,), (1, 2, 9), "*"])
async def test_the_version_that_is_there_is_refused(store: Store, build: CommandBuilder, ruled_out: Versions) -> None:
    session = await create_session(store, build.create())
    await apply_update(store, update(session, user()))
    before = await read(store, session)

    for command in (update(session, user()), update(session), extend(session), delete(session)):
        refused = await apply_one(store, unless(command, ruled_out), PreconditionFailedError)
        assert refused.version == 2

    assert await read(store, session) == before


async def test_any_other_version_lets_every_command_pass(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    await apply_one(store, unless(update(session, user()), (2, 3)), Updated)
    await apply_one(store, unless(extend(session), 1), Extended)
    await apply_one(store, unless(delete(session), (1, 2)), Deleted)


async def test_an_absent_session_is_not_found_whatever_version_is_excluded(store: Store, build: CommandBuilder) -> None:
    await apply_one(store, unless(update(build.create(), user()), "*"), SessionNotFoundError)
