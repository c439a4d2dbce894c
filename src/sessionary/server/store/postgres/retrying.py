"""Retry work after a lost connection, and halve a batch that the database refuses."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from sessionary.errors import SessionaryError, StoreUnavailableError
from sessionary.server.store.postgres.driver_errors import ConnectionLostError, InvalidDataError, RolledBackError

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Awaitable[Sequence[Result | SessionaryError]]]
"""Returns the result of each item of a batch, in order; raises as ``Connection.call`` does."""

_logger: Final = logging.getLogger("sessionary.server.store")


async def run_in_parts(work: Work[Item, Result], items: Sequence[Item]) -> list[Result | SessionaryError]:
    """Do the work for a batch of items; if the data is refused, for each half, until only the bad item fails.

    A connection that was lost before anything was committed is replaced once. Work that may have been committed is
    never repeated: the result of its items is StoreUnavailableError.
    """
    try:
        return [*await _run_with_retry(work, items)]
    except StoreUnavailableError as error:
        return [error] * len(items)
    except RolledBackError as refusal:
        if len(items) == 1 or not isinstance(refusal, InvalidDataError):
            _logger.warning("The database refused a batch of %d: %s.", len(items), refusal)
            return [StoreUnavailableError(reason=str(refusal), unchanged=True)] * len(items)
    middle = len(items) // 2
    return [*await run_in_parts(work, items[:middle]), *await run_in_parts(work, items[middle:])]


async def _run_with_retry(work: Work[Item, Result], items: Sequence[Item]) -> Sequence[Result | SessionaryError]:
    try:
        return await work(items)
    except ConnectionLostError:
        pass
    try:
        return await work(items)
    except ConnectionLostError as error:
        raise StoreUnavailableError(reason=str(error), unchanged=True) from error
