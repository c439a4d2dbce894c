"""Windows: which messages of a conversation are requested, and how they are taken out of message blocks."""

from collections.abc import Sequence
from typing import Final

import msgspec

from sessionary.server.store.base import Window

_messages: Final = msgspec.json.Decoder(list[msgspec.Raw])


def resolve_window(window: Window | None, total: int) -> tuple[int, int]:
    """Return which of ``total`` messages a window shows: from the first number up to, not including, the second."""
    if window is None:
        return 0, total
    if window.offset is None:
        return max(0, total - (window.limit or total)), total
    begin = min(window.offset, total)
    end = total if window.limit is None else min(begin + window.limit, total)
    return begin, end


def slice_messages(blocks: Sequence[tuple[int, bytes]], begin: int, end: int) -> bytes:
    """Join the messages from number ``begin`` up to, not including, ``end`` of consecutive blocks.

    A block is given by the number of its first message and its body. Blocks within the range are used as they are;
    those at its ends are split into messages, which are not decoded.
    """
    bodies: list[bytes] = []
    for number, (first, body) in enumerate(blocks):
        following = blocks[number + 1][0] if number + 1 < len(blocks) else None
        if following is not None and begin <= first and following <= end:
            bodies.append(body)
        else:
            numbered = enumerate(_messages.decode(b"[" + body + b"]"), first)
            bodies.extend(bytes(message) for index, message in numbered if begin <= index < end)
    return b",".join(bodies)
