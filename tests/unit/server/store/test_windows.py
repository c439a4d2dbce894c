"""Windows are computed and cut without a database."""

import json

import pytest

from sessionary.server.store.base import Window
from sessionary.server.store.windows import resolve_window, slice_messages


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (None, (0, 10)),
        (Window(), (0, 10)),
        (Window(limit=3), (7, 10)),
        (Window(limit=10), (0, 10)),
        (Window(limit=11), (0, 10)),
        (Window(offset=0), (0, 10)),
        (Window(offset=4), (4, 10)),
        (Window(offset=10), (10, 10)),
        (Window(offset=2_147_483_647), (10, 10)),
        (Window(offset=4, limit=3), (4, 7)),
        (Window(offset=8, limit=3), (8, 10)),
        (Window(offset=12, limit=3), (10, 10)),
    ],
)
def test_a_window_returns_the_requested_part_of_ten_messages(window: Window | None, expected: tuple[int, int]) -> None:
    assert resolve_window(window, 10) == expected


def test_a_window_on_nothing_spans_nothing() -> None:
    assert resolve_window(Window(limit=5), 0) == (0, 0)
    assert resolve_window(Window(offset=5, limit=5), 0) == (0, 0)


@pytest.mark.parametrize("sizes", [[10], [1] * 10, [3, 4, 3], [1, 8, 1], [5, 5]])
def test_every_window_is_cut_to_the_message(sizes: list[int]) -> None:
    blocks = _blocks(sizes)
    for begin in range(11):
        for end in range(begin, 11):
            reached = [
                block for block, size in zip(blocks, sizes, strict=True) if begin < block[0] + size and block[0] < end
            ]
            shown = json.loads(b"[" + slice_messages(reached, begin, end) + b"]")
            assert [message["number"] for message in shown] == list(range(begin, end))


def test_messages_are_sliced_without_changing_a_byte() -> None:
    odd = b'{"content":"a,]}[{\\u0000","n":1.0e2, "deep":[[{}]]}'
    assert slice_messages([(0, b'{"n":0},' + odd + b',{"n":2}')], 1, 2) == odd


def test_blocks_within_the_window_are_not_parsed() -> None:
    assert slice_messages([(0, b"never parsed"), (2, b'{"n":2},{"n":3}')], 0, 3) == b'never parsed,{"n":2}'


def _blocks(sizes: list[int]) -> list[tuple[int, bytes]]:
    blocks = []
    first = 0
    for size in sizes:
        body = ",".join(f'{{"number":{number},"content":"a,b]"}}' for number in range(first, first + size))
        blocks.append((first, body.encode()))
        first += size
    return blocks
