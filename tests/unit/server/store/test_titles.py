"""The title a session takes from its first user message: every clause of section 3 of the contract."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionary.server.store.titles import title_from
from tests.reference import title_of

CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
SPACES = " \t\u00a0\u2003\u3000\x1f"
LINE_ENDS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]

texts = st.text(
    st.one_of(
        st.sampled_from([" ", "a", "b", "é", "\U0001f600", "\n", "\r", "\t", "\x00", "\x1f", "\x85", "\u2028", "\xa0"]),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=200,
)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("Hello there\nand more", "Hello there"),
        ("\n\n  \n\t\nThird line\nFourth", "Third line"),
        ("  padded  ", "padded"),
        ("many   spaces\t\tand tabs", "many spaces and tabs"),
        ("no\u00a0break\u2003and\u3000wide", "no break and wide"),
        ("bell\x07 and\x00 nul", "bell and nul"),
        ("a \x00 b", "a b"),
        ("\x00\x01\x7f\nSecond", "Second"),
        ("zero\u200bwidth and \u202eturned", "zero\u200bwidth and \u202eturned"),
        ("e\u0301 \U0001f468\u200d\U0001f469", "e\u0301 \U0001f468\u200d\U0001f469"),
        ("0", "0"),
        ("null", "null"),
    ],
)
def test_the_title_is_the_first_line_with_something_on_it(text: str, title: str) -> None:
    assert title_from(text) == title


@pytest.mark.parametrize("text", ["", " ", "\n", " \t\r\n \u2028\u3000", "\x00", CONTROLS])
def test_a_text_with_nothing_on_it_gives_no_title(text: str) -> None:
    assert title_from(text) is None


@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
def test_every_line_end_ends_a_line(end: str) -> None:
    assert title_from(f"{end}{end} First{end}Second") == "First"


def test_control_characters_are_dropped_and_white_space_folded() -> None:
    within = "".join(letter for letter in CONTROLS if letter not in "".join(LINE_ENDS))

    assert title_from(f"a{within}b") == "a b", "tab and unit separator are white space, the others are gone"
    assert title_from(f"a{SPACES}b") == "a b"


def test_80_code_points_are_left_whole() -> None:
    assert title_from("x" * 80) == "x" * 80
    assert title_from("\U0001f600" * 80) == "\U0001f600" * 80
    assert title_from(f"{'x' * 40} {'y' * 39}") == f"{'x' * 40} {'y' * 39}"


def test_81_code_points_without_a_space_are_cut_at_79() -> None:
    assert title_from("x" * 81) == "x" * 79 + "…"
    assert title_from("\U0001f600" * 81) == "\U0001f600" * 79 + "…"


def test_a_longer_title_is_cut_at_the_last_space_within_79() -> None:
    assert title_from(f"{'x' * 40} {'y' * 40}") == "x" * 40 + "…"
    assert title_from(f"one {'x' * 90}") == "one…"
    assert title_from("word " * 20) == "word " * 14 + "word…"


@pytest.mark.parametrize(
    ("before_space", "kept"),
    [(77, 77), (78, 78), (79, 79), (80, 79)],
    ids=["78th", "79th-is-the-space", "80th-is-the-space", "81st-is-the-space"],
)
def test_the_space_must_lie_within_the_first_79(before_space: int, kept: int) -> None:
    assert title_from("x" * before_space + " " + "y" * 20) == "x" * kept + "…"


def test_the_length_counts_what_is_left_after_folding() -> None:
    assert title_from("a" + " " * 200 + "b") == "a b"
    assert title_from("\x00" * 200 + "a") == "a"


LONG = 1024 * 1024


@pytest.mark.parametrize("unit", ["\n", "\0", " ", "\u3000", "x", "line\n", "\0 ", "a\0"], ids=ascii)
@pytest.mark.parametrize("before", ["", "a"])
def test_only_the_start_of_a_long_text_is_read(before: str, unit: str) -> None:
    def stop(*_: object) -> None:
        raise AssertionError("this takes longer than a look at each character would")

    text = before + unit * (LONG // len(unit)) + "b"
    known = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, 1)
    try:
        titles = [title_from(text) for _ in range(10)]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, known)
    assert set(titles) == {title_of(text)}


@given(texts)
def test_a_title_is_what_the_reference_says(text: str) -> None:
    assert title_from(text) == title_of(text)


@given(texts)
def test_a_title_is_one_short_printable_line(text: str) -> None:
    title = title_from(text)

    if title is None:
        assert not [letter for letter in text if not letter.isspace() and letter not in CONTROLS]
    else:
        assert 1 <= len(title) <= 80
        assert not set(title) & set(CONTROLS)
        assert title == " ".join(title.split())
        assert title.splitlines() == [title]


@given(texts)
def test_a_title_of_a_title_is_the_same(text: str) -> None:
    title = title_from(text)

    assert title is None or title_from(title) == title
