"""A command whose ``unless_version`` is the session's version is refused with the version it has."""

from typing import Any

import msgspec
import pytest

from sessionary.errors import PreconditionFailedError, SessionNotFoundError
from sessionary.server.store.base import Command, Deleted, Extended, Store, Updated, Versions
from tests.conformance.making import Making, begin, change, delete, do, extend, read, update, user


def unless(command: Command, version: Versions) -> Any:
    """Make a command that is not meant for these versions."""
    return msgspec.structs.replace(command, unless_version=version)


@pytest.mark.parametrize("ruled_out", [2, (2,), (1, 2, 9), "*"])
async def test_the_version_that_is_there_is_refused(store: Store, making: Making, ruled_out: Versions) -> None:
    session = await begin(store, making.create())
    await change(store, update(session, user()))
    before = await read(store, session)

    for command in (update(session, user()), update(session), extend(session), delete(session)):
        refused = await do(store, unless(command, ruled_out), PreconditionFailedError)
        assert refused.version == 2

    assert await read(store, session) == before


async def test_any_other_version_lets_every_command_pass(store: Store, making: Making) -> None:
    session = await begin(store, making.create())

    await do(store, unless(update(session, user()), (2, 3)), Updated)
    await do(store, unless(extend(session), 1), Extended)
    await do(store, unless(delete(session), (1, 2)), Deleted)


async def test_an_absent_session_is_not_found_whatever_version_is_excluded(store: Store, making: Making) -> None:
    await do(store, unless(update(making.create(), user()), "*"), SessionNotFoundError)
