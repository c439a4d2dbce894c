"""Windows: which messages of a conversation are asked for, and cutting them out of blocks."""

from collections.abc import Sequence
from typing import Final

import msgspec

from sessionary.server.store.base import Window

_messages: Final = msgspec.json.Decoder(list[msgspec.Raw])


def span(window: Window | None, total: int) -> tuple[int, int]:
    """Say which messages of ``total`` a window shows: from the first number up to, not including, the second."""
    if window is None:
        return 0, total
    if window.offset is None:
        return max(0, total - (window.limit or total)), total
    begin = min(window.offset, total)
    end = total if window.limit is None else min(begin + window.limit, total)
    return begin, end


def cut(blocks: Sequence[tuple[int, bytes]], begin: int, end: int) -> bytes:
    """Join the messages numbered from ``begin`` up to ``end`` out of blocks that follow each other.

    A block is given by the number of its first message and its body. Those in the middle are taken as they are; only
    at the edges are messages told apart, and not even there are they decoded.
    """
    pieces: list[bytes] = []
    for place, (first, body) in enumerate(blocks):
        following = blocks[place + 1][0] if place + 1 < len(blocks) else None
        if following is not None and begin <= first and following <= end:
            pieces.append(body)
        else:
            numbered = enumerate(_messages.decode(b"[" + body + b"]"), first)
            pieces.extend(bytes(message) for number, message in numbered if begin <= number < end)
    return b",".join(pieces)
