"""Splitting a file into records: where each starts and ends, whatever it contains."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionary.cli.transfer.json_splitter import split_records
from sessionary.cli.transfer.raw_record import RECORD_BYTES_MAX

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)


def split_text(text: bytes) -> tuple[str, list[tuple[int, bytes | None]]]:
    """Split a file with this text."""
    split = split_records(io.BufferedReader(io.BytesIO(text)))
    return split.unit, [(record.number, record.text) for record in split.records]


def values_in(text: bytes) -> list[Any]:
    """Split a file and decode its valid records."""
    found = []
    for _, record in split_text(text)[1]:
        try:
            found.append(json.loads((record or b"").decode("utf-8", "surrogatepass")))
        except ValueError:
            found.append("broken")
    return found


@given(values=st.lists(VALUES, max_size=6), indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
def test_the_elements_of_any_array_are_found(values: list[Any], indent: int | None, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    unit, found = split_text(
        json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    )
    assert unit == "element"
    assert [number for number, _ in found] == list(range(1, len(values) + 1))
    assert [json.loads((text or b"").decode("utf-8", "surrogatepass")) for _, text in found] == values


@given(
    values=st.lists(OBJECTS, min_size=1, max_size=6),
    indent=st.sampled_from([None, 0, 2]),
    between=st.sampled_from(["\n", "\n\n", "\r\n", " \n"]),
)
def test_objects_of_one_or_several_lines_are_found(values: list[Any], indent: int | None, between: str) -> None:
    text = between.join(json.dumps(value, indent=indent) for value in values).encode()
    assert split_text(text)[0] == "line"
    assert values_in(text) == values


def test_several_objects_in_one_line_are_split() -> None:
    assert values_in(b'{"a": "}{"} {"b": [{}]}{"c": 1}\n{"d": 1}') == [{"a": "}{"}, {"b": [{}]}, {"c": 1}, {"d": 1}]


@pytest.mark.parametrize("padding", range(65_510, 65_540))
def test_an_escape_across_two_chunks_is_read_as_one(padding: int) -> None:
    values = ["x" * padding + '"],[\\', {"a": "\\"}, "]"]
    assert [json.loads(text or b"") for _, text in split_text(json.dumps(values).encode())[1]] == values


def test_lines_are_numbered_as_in_an_editor_and_empty_ones_skipped() -> None:
    text = b"\xef\xbb\xbf\n \t\n{1}\n\n{2}\r\n  {3}  "
    assert split_text(text) == ("line", [(3, b"{1}\n"), (5, b"{2}\r\n"), (6, b"  {3}  ")])


def test_a_value_of_many_lines_has_the_number_of_its_first() -> None:
    text = b'{"a": 1}\n\n{\n "b":\n 2\n}\n{"c": 3}\n'
    assert [number for number, _ in split_text(text)[1]] == [1, 3, 7]


def test_an_array_truncated_inside_an_element_ends_with_a_broken_record() -> None:
    assert split_text(b'[{"a": 1}, {"b": [')[1] == [(1, b'{"a": 1}'), (2, b'{"b": [')]


@pytest.mark.parametrize("end", [b"", b",", b",\n "])
def test_an_array_truncated_between_elements_ends_with_an_empty_record(end: bytes) -> None:
    assert split_text(b'[{"a": 1}, {"b": 2}' + end)[1] == [(1, b'{"a": 1}'), (2, b'{"b": 2}'), (3, b"")]


def test_values_after_the_array_are_read_too() -> None:
    assert split_text(b"[1, [2, 3]] [4]\n5")[1] == [(1, b"1"), (2, b"[2, 3]"), (3, b" [4]\n"), (4, b"5")]


def test_arrays_on_lines_of_their_own_are_records() -> None:
    assert split_text(b"[1, 2]\n[3]\n") == ("line", [(1, b"[1, 2]\n"), (2, b"[3]\n")])


VALID = b'{"title": "%d", "messages": [{"title": "inner"}]}'


@pytest.mark.parametrize(
    "broken",
    [
        b'{"title": "x", "messages": [{"title": "inner"}, }',
        b'{"title": "x", "messages": [1, 2}',
        b'{"title": "x", "messages": [1, 2]]',
        b'{"title": "x, "messages": []}',
        b'{"title": "x',
        b'{"title": "x", "messages": [',
        b'{"title": "x", "messages": oops, "n": [}',
        b"}",
        b'"',
        b"\x00\xff",
    ],
)
@pytest.mark.parametrize(
    ("before", "between", "after"), [(b"[", b", ", b"]"), (b"[\n", b",\n", b"\n]"), (b"", b"\n", b"\n")]
)
def test_a_broken_record_does_not_affect_other_records(
    broken: bytes, before: bytes, between: bytes, after: bytes
) -> None:
    records = [VALID % 1, VALID % 2, broken, VALID % 3, VALID % 4, VALID % 5]
    found = [value["title"] for value in values_in(before + between.join(records) + after) if isinstance(value, dict)]
    assert found == ["1", "2", "3", "4", "5"]
    assert "broken" in values_in(before + between.join(records) + after)


def test_a_truncated_object_of_many_lines_is_one_broken_record() -> None:
    text = json.dumps({"title": "x", "messages": [{"role": "user"}] * 20}, indent=1).encode()
    assert values_in(VALID % 1 + b"\n" + text[:-30]) == [json.loads(VALID % 1), "broken"]


@pytest.mark.parametrize(
    ("before", "between", "after"), [(b"", b"\n", b"\n"), (b"[", b",", b"]")], ids=["line", "element"]
)
@pytest.mark.parametrize("inside", [b'"%s"', b'{"a":\n"%s"}', b'{"a": [%s]}'])
def test_a_record_that_is_too_long_is_skipped(before: bytes, between: bytes, after: bytes, inside: bytes) -> None:
    long = (b'"' + b"x" * 1_000_000 + b'",\n') * 34 + b"1" if b"[%s]" in inside else b"x" * (RECORD_BYTES_MAX + 100_000)
    unit, found = split_text(before + between.join([b"1", inside.replace(b"%s", long), b"3"]) + after)
    assert unit in {"line", "element"}
    assert [text and text.strip() for _, text in found] == [b"1", None, b"3"]
