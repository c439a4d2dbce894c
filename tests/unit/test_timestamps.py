"""Timestamps are formatted as RFC 3339 in UTC, with milliseconds."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionary.timestamps import format_timestamp

LAST = 253_402_300_799_999  # the last millisecond of the year 9999


@pytest.mark.parametrize(
    ("milliseconds", "formatted"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1_000, "1970-01-01T00:00:01.000Z"),
        (1_795_385_340_123, "2026-11-22T22:09:00.123Z"),
        (1_709_164_800_010, "2024-02-29T00:00:00.010Z"),
        (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
        (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        (LAST, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_timestamp_is_formatted_in_utc_with_milliseconds(milliseconds: int, formatted: str) -> None:
    assert format_timestamp(milliseconds) == formatted


@given(st.integers(0, LAST))
def test_a_formatted_timestamp_parses_back_to_the_same_millisecond(milliseconds: int) -> None:
    formatted = format_timestamp(milliseconds)

    assert len(formatted) == len("2026-11-22T22:09:00.123Z")
    read = datetime.fromisoformat(formatted)
    assert (read - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) == milliseconds


@given(st.lists(st.integers(0, LAST), max_size=10))
def test_formatted_timestamps_sort_by_time(times: list[int]) -> None:
    assert sorted(map(format_timestamp, times)) == list(map(format_timestamp, sorted(times)))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
def test_the_machines_time_zone_does_not_matter(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert format_timestamp(1_000_000_000_000 + len(zone)) == f"2001-09-09T01:46:40.0{len(zone):02d}Z"
    finally:
        monkeypatch.undo()
        time.tzset()
