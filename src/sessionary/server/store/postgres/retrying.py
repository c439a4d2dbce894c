"""What to do when the database says no, or nothing."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from sessionary.errors import SessionaryError, StoreUnavailableError
from sessionary.server.store.postgres.driver_errors import ConnectionLostError, InvalidDataError, RolledBackError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Work = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | SessionaryError]]]
"""Answers each item of a batch, in order; raises as ``Connection.call`` does."""

_logger: Final = logging.getLogger("sessionary.server.store")


async def persist(work: Work[Item, Answer], items: Sequence[Item]) -> list[Answer | SessionaryError]:
    """Do the work for a batch of items; if they are refused, for halves of it, until only the culprit fails.

    A connection that was lost before it could commit anything is replaced once. Work that may have been done is
    never done again: its items are answered with StoreUnavailableError.
    """
    try:
        return [*await _twice(work, items)]
    except StoreUnavailableError as error:
        return [error] * len(items)
    except RolledBackError as refusal:
        if len(items) == 1 or not isinstance(refusal, InvalidDataError):
            _logger.warning("The database refused a batch of %d: %s.", len(items), refusal)
            return [StoreUnavailableError(reason=str(refusal), unchanged=True)] * len(items)
    middle = len(items) // 2
    return [*await persist(work, items[:middle]), *await persist(work, items[middle:])]


async def _twice(work: Work[Item, Answer], items: Sequence[Item]) -> Sequence[Answer | SessionaryError]:
    try:
        return await work(items)
    except ConnectionLostError:
        pass
    try:
        return await work(items)
    except ConnectionLostError as error:
        raise StoreUnavailableError(reason=str(error), unchanged=True) from error
