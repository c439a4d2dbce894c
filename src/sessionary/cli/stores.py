"""Commands that work in the database itself, past any server."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sessionary.cli.settings import from_flags
from sessionary.server.clock import steady_clock
from sessionary.server.store.base import OPERATOR, Store
from sessionary.server.store.opening import migrate, open_store

Result = TypeVar("Result")


def with_store(options: dict[str, Any], work: Callable[[Store], Awaitable[Result]]) -> Result:
    """Open the store that the options name, migrated if need be, and do the work with it."""
    database = from_flags(options).settings.database
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
    """Say for the audit records who sits at the command line."""
    try:
        return f"{OPERATOR} {getpass.getuser()}"
    except (KeyError, OSError):
        # A user without a name, as containers have them.
        return OPERATOR
