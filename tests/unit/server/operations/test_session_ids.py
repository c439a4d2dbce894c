"""Session ids are UUIDv7 and increase."""

import secrets
import uuid

import pytest

from sessionary.server.operations.session_ids import SessionIdGenerator, normalize_session_id

NOVEMBER = 1_795_385_340_123


class FixedBits:
    """A source of random bits that returns the given numbers in order, and then zeros."""

    def __init__(self, *given: int) -> None:
        self._given = list(given)
        self.requested: list[int] = []

    def __call__(self, bits: int) -> int:
        self.requested.append(bits)
        number = self._given.pop(0) if self._given else 0
        assert number < 1 << bits
        return number


def test_an_id_is_a_uuid_v7_that_contains_its_creation_time() -> None:
    text, created_at = SessionIdGenerator(lambda: NOVEMBER, secrets.randbits).generate()
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 7, uuid.RFC_4122)
    assert created_at == NOVEMBER
    assert parsed.int >> 80 == NOVEMBER


def test_ids_of_one_millisecond_increase() -> None:
    ids = SessionIdGenerator(lambda: NOVEMBER, secrets.randbits)
    made = [ids.generate() for _ in range(10_000)]
    texts = [text for text, _ in made]
    assert texts == sorted(texts)
    assert len(set(texts)) == 10_000
    assert {created_at for _, created_at in made} == {NOVEMBER}


def test_ids_of_later_milliseconds_increase_whatever_the_random_bits() -> None:
    times = iter([NOVEMBER, NOVEMBER + 1, NOVEMBER + 2])
    largest, smallest = (1 << 41) - 1, 0
    ids = SessionIdGenerator(lambda: next(times), FixedBits(largest, (1 << 32) - 1, smallest, 0, largest, 0))
    made = [ids.generate()[0] for _ in range(3)]
    assert made == sorted(made)


def test_ids_increase_when_the_clock_stands_still_or_runs_backwards() -> None:
    times = iter([NOVEMBER, NOVEMBER - 5_000, NOVEMBER - 1, NOVEMBER])
    ids = SessionIdGenerator(lambda: next(times), secrets.randbits)
    made = [ids.generate() for _ in range(4)]
    assert made == sorted(made)
    assert {created_at for _, created_at in made} == {NOVEMBER}


def test_a_counter_overflow_moves_to_the_next_millisecond() -> None:
    ids = SessionIdGenerator(lambda: NOVEMBER, FixedBits((1 << 41) - 1))
    first = ids.generate()
    ids._counter = (1 << 42) - 1  # noqa: SLF001 - the last id of this millisecond
    after = ids.generate()
    assert after > first
    assert after[1] == NOVEMBER + 1
    assert ids.generate() > after


def test_two_processes_do_not_generate_the_same_id() -> None:
    generators = [SessionIdGenerator(lambda: NOVEMBER, secrets.randbits) for _ in range(100)]
    assert len({generator.generate()[0] for generator in generators for _ in range(100)}) == 10_000


@pytest.mark.parametrize(
    ("text", "normalized"),
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
def test_an_id_may_be_in_upper_case_but_in_no_other_form(text: str, normalized: str | None) -> None:
    assert normalize_session_id(text) == normalized
