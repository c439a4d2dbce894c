"""Cutting a file into records: where each begins and ends, whatever stands inside."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionary.cli.transfer.piece import PIECE_BYTES_MAX
from sessionary.cli.transfer.pieces import pieces_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def cut(text: bytes) -> tuple[str, list[tuple[int, bytes | None]]]:
    """Cut a file that holds a text."""
    pieces = pieces_of(io.BufferedReader(io.BytesIO(text)))
    return pieces.unit, [(number, text) for number, text, _ in pieces.found]


@given(values=st.lists(VALUES, max_size=6), indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
def test_the_elements_of_any_array_are_found(values: list[Any], indent: int | None, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    unit, found = cut(json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))
    assert unit == "element"
    assert [number for number, _ in found] == list(range(1, len(values) + 1))
    assert [json.loads((text or b"").decode("utf-8", "surrogatepass")) for _, text in found] == values


@pytest.mark.parametrize("padding", range(65_510, 65_540))
def test_an_escape_where_two_chunks_meet_is_read_as_one(padding: int) -> None:
    values = ["x" * padding + '"],[\\', {"a": "\\"}, "]"]
    assert [json.loads(text or b"") for _, text in cut(json.dumps(values).encode())[1]] == values


def test_lines_are_numbered_as_an_editor_does_and_empty_ones_left_out() -> None:
    text = b"\xef\xbb\xbf\n \t\n{1}\n\n{2}\r\n  {3}  "
    assert cut(text) == ("line", [(3, b"{1}\n"), (5, b"{2}\r\n"), (6, b"  {3}  ")])


def test_an_array_that_breaks_off_ends_in_what_cannot_be_read() -> None:
    assert cut(b'[{"a": 1}, {"b": [')[1] == [(1, b'{"a": 1}'), (2, b'{"b": [')]


def test_what_follows_the_array_is_nobodys() -> None:
    assert cut(b"[1, [2, 3]] [4]\n5")[1] == [(1, b"1"), (2, b"[2, 3]")]


@pytest.mark.parametrize(
    ("before", "between", "after"), [(b"", b"\n", b"\n"), (b"[", b",", b"]")], ids=["line", "element"]
)
def test_a_record_that_is_too_long_is_passed_over(before: bytes, between: bytes, after: bytes) -> None:
    too_long = b'"' + b"x" * (PIECE_BYTES_MAX + 100_000) + b'"'
    unit, found = cut(before + between.join([b"1", too_long, b"3"]) + after)
    assert unit in {"line", "element"}
    assert [(number, text and text.strip()) for number, text in found] == [(1, b"1"), (2, None), (3, b"3")]
