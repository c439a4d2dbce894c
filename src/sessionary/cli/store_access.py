"""Direct access to the database, for commands that need no running server."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sessionary.cli.server_settings import settings_from_flags
from sessionary.server.clock import steady_clock
from sessionary.server.store.base import OPERATOR, Store
from sessionary.server.store.opening import migrate, open_store

Result = TypeVar("Result")


def with_store(options: dict[str, Any], work: Callable[[Store], Awaitable[Result]]) -> Result:
    """Open the store that the options name, apply pending migrations, and run ``work`` with it."""
    database = settings_from_flags(options).settings.database
    clock = steady_clock()

    async def run() -> Result:
        await migrate(database, clock())
        store = await open_store(database, clock, shared=True)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def operator() -> str:
    """Return the actor for audit records: the operator, with the name of the operating system's user."""
    try:
        return f"{OPERATOR} {getpass.getuser()}"
    except (KeyError, OSError):
        # Containers often run as a user id without a name.
        return OPERATOR
