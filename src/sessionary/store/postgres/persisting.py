"""What to do when the database says no, or nothing."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from sessionary.errors import SessionaryError, StoreUnavailable
from sessionary.store.postgres.failures import Lost, Refused, Unfit

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Work = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | SessionaryError]]]
"""Answers each item of a batch, in order; raises as ``Connection.call`` does."""

_logger: Final = logging.getLogger("sessionary.store")


async def persist(work: Work[Item, Answer], items: Sequence[Item]) -> list[Answer | SessionaryError]:
    """Do the work for a batch of items; if they are refused, for halves of it, until only the culprit fails.

    A connection that was lost before it could commit anything is replaced once. Work that may have been done is
    never done again: its items are answered with StoreUnavailable.
    """
    try:
        return [*await _twice(work, items)]
    except StoreUnavailable as error:
        return [error] * len(items)
    except Refused as refusal:
        if len(items) == 1 or not isinstance(refusal, Unfit):
            _logger.warning("The database refused a batch of %d: %s.", len(items), refusal)
            return [StoreUnavailable(reason=str(refusal), unchanged=True)] * len(items)
    middle = len(items) // 2
    return [*await persist(work, items[:middle]), *await persist(work, items[middle:])]


async def _twice(work: Work[Item, Answer], items: Sequence[Item]) -> Sequence[Answer | SessionaryError]:
    try:
        return await work(items)
    except Lost:
        pass
    try:
        return await work(items)
    except Lost as error:
        raise StoreUnavailable(reason=str(error), unchanged=True) from error
