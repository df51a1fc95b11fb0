import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.core.timestamp import iso, parse_iso


def test_a_time_is_written_in_utc_with_microseconds() -> None:
    assert iso(1_684_159_200.25) == "2023-05-15T14:00:00.250000Z"


def test_almost_a_second_is_the_next_one() -> None:
    assert iso(59.999_999_9) == "1970-01-01T00:01:00.000000Z"


def test_a_time_long_ago_is_read_back_too() -> None:
    assert iso(parse_iso("0999-05-15T14:00:00Z")) == "0999-05-15T14:00:00.000000Z"


@given(st.integers(0, 4_000_000_000), st.integers(0, 999_999))
def test_a_time_is_read_back_as_it_was_written(seconds: int, microseconds: int) -> None:
    utc = seconds + microseconds / 1_000_000
    assert parse_iso(iso(utc)) == pytest.approx(utc, abs=1e-6)
    assert iso(parse_iso(iso(utc))) == iso(utc)


def test_times_sort_as_they_are_written() -> None:
    times = [0.0, 0.5, 1.0, 1_684_159_200.0, 1_684_159_200.000001]
    assert sorted(iso(time) for time in reversed(times)) == [iso(time) for time in times]


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    assert parse_iso("2023-05-15T10:00:00-04:00") == parse_iso("2023-05-15T14:00:00Z")


@pytest.mark.parametrize("text", ["2023-05-15T14:00:00", "2023-05-15", "10 o'clock", ""])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the standard library's
        parse_iso(text)
