"""Ids of sessions: UUIDs of version 7 that grow."""

import secrets
import uuid

import pytest

from sessionary.server.operations.session_ids import SessionIds, known_form

NOVEMBER = 1_795_385_340_123


class Bits:
    """A source of randomness that gives what the test says, in order, then zeros."""

    def __init__(self, *given: int) -> None:
        self._given = list(given)
        self.asked: list[int] = []

    def __call__(self, bits: int) -> int:
        self.asked.append(bits)
        number = self._given.pop(0) if self._given else 0
        assert number < 1 << bits
        return number


def test_an_id_is_a_uuid_of_version_7_with_its_instant_inside() -> None:
    text, created_at = SessionIds(lambda: NOVEMBER, secrets.randbits).next()
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 7, uuid.RFC_4122)
    assert created_at == NOVEMBER
    assert parsed.int >> 80 == NOVEMBER


def test_ids_of_one_millisecond_grow() -> None:
    ids = SessionIds(lambda: NOVEMBER, secrets.randbits)
    made = [ids.next() for _ in range(10_000)]
    texts = [text for text, _ in made]
    assert texts == sorted(texts)
    assert len(set(texts)) == 10_000
    assert {created_at for _, created_at in made} == {NOVEMBER}


def test_ids_of_later_milliseconds_grow_whatever_chance_says() -> None:
    instants = iter([NOVEMBER, NOVEMBER + 1, NOVEMBER + 2])
    largest, smallest = (1 << 41) - 1, 0
    ids = SessionIds(lambda: next(instants), Bits(largest, (1 << 32) - 1, smallest, 0, largest, 0))
    made = [ids.next()[0] for _ in range(3)]
    assert made == sorted(made)


def test_ids_grow_when_the_clock_stands_still_or_runs_back() -> None:
    instants = iter([NOVEMBER, NOVEMBER - 5_000, NOVEMBER - 1, NOVEMBER])
    ids = SessionIds(lambda: next(instants), secrets.randbits)
    made = [ids.next() for _ in range(4)]
    assert made == sorted(made)
    assert {created_at for _, created_at in made} == {NOVEMBER}


def test_a_millisecond_that_is_full_runs_over_into_the_next() -> None:
    ids = SessionIds(lambda: NOVEMBER, Bits((1 << 41) - 1))
    first = ids.next()
    ids._counter = (1 << 42) - 1  # noqa: SLF001 - a million million ids later
    after = ids.next()
    assert after > first
    assert after[1] == NOVEMBER + 1
    assert ids.next() > after


def test_two_processes_do_not_make_the_same_id() -> None:
    makers = [SessionIds(lambda: NOVEMBER, secrets.randbits) for _ in range(100)]
    assert len({maker.next()[0] for maker in makers for _ in range(100)}) == 10_000


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("01A205EB-0571-711F-A19F-24D7934E77F0", "01a205eb-0571-711f-a19f-24d7934e77f0"),
        ("00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"),
        ("01a205eb0571711fa19f24d7934e77f0", None),
        ("{01a205eb-0571-711f-a19f-24d7934e77f0}", None),
        ("urn:uuid:01a205eb-0571-711f-a19f-24d7934e77f0", None),
        ("01a205eb-0571-711f-a19f-24d7934e77f0\n", None),
        (" 01a205eb-0571-711f-a19f-24d7934e77f0", None),
        ("01a205eb-0571-711f-a19f-24d7934e77fg", None),
        ("\u06601a205eb-0571-711f-a19f-24d7934e77f0", None),
        ("01a205eb-05717-11f-a19f-24d7934e77f0", None),
        ("", None),
        ("demo", None),
    ],
)
def test_an_id_is_known_in_any_case_and_in_no_other_spelling(text: str, known: str | None) -> None:
    assert known_form(text) == known
