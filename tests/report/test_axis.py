from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.report.axis import after, axis, passed, span


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "0 s"), (0.0004, "0 s"), (0.32, "320 ms"), (0.9996, "1.0 s"), (9.84, "9.8 s"), (59.96, "1 m 00 s"),
        (303, "5 m 03 s"), (3599.4, "59 m 59 s"), (3599.6, "1 h 00 m"), (29520, "8 h 12 m"), (86390, "1 d 00 h"),
        (100_000, "1 d 04 h"), (-3, "-3.0 s"),
    ],
)  # fmt: skip
def test_span_is_told_in_at_most_two_units_and_carries_over(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    "seconds, words",
    [(0, "0.0 s"), (9.84, "9.8 s"), (59.96, "1:00.0"), (303.04, "5:03.0"), (39890.2, "11:04:50.2"), (-2, "-2.0 s")],
)
def test_stopwatch_shows_tenths_however_long_it_ran(seconds: float, words: str) -> None:
    assert passed(seconds) == words


def test_time_is_drawn_to_scale() -> None:
    assert [axis(100, 120, [], 10, 600).x(at) for at in (100, 105, 110, 120)] == [10, 160, 310, 610]


def test_moment_outside_stands_at_the_edge() -> None:
    time = axis(100, 120, [], 10, 600)
    assert (time.x(50), time.x(500)) == (10, 610)


def test_ticks_stand_at_round_distances_from_zero() -> None:
    assert list(axis(97, 121, [], 0, 600).ticks(100)) == [100, 105, 110, 115, 120]


def test_night_between_two_short_pieces_of_work_leaves_them_room() -> None:
    time = axis(0, 36_020, [(10, 36_010)], 0, 600)
    assert time.x(10) > 250
    assert time.x(36_010) < 350
    assert time.squeezed == ((10.0, 36_010.0),)
    assert all(at <= 10 or at >= 36_010 for at in time.ticks(0))


@pytest.mark.parametrize("until", [11, 15, 20])
def test_while_no_longer_than_the_work_is_drawn_as_long_as_it_was(until: float) -> None:
    time = axis(0, 30, [(10, until)], 0, 600)
    assert len(time.squeezed) == 0
    assert time.x(until) - time.x(10) == pytest.approx(20 * (until - 10))


def test_run_of_one_moment_has_an_axis() -> None:
    time = axis(100, 100, [(100, 100)], 0, 600)
    assert time.x(100) == 0
    assert len(list(time.ticks(100))) < 20


@given(st.lists(st.floats(0, 1e7), min_size=2, max_size=12, unique=True).map(sorted), st.data())
def test_what_came_later_never_stands_further_left(edges: list[float], data: st.DataObject) -> None:
    idle = list(pairwise(edges))[1::2]
    time = axis(edges[0], edges[-1], idle, 0, 600)
    moments = sorted([*edges, *data.draw(st.lists(st.floats(edges[0], edges[-1]), max_size=20))])
    drawn = [time.x(at) for at in moments]
    assert drawn == sorted(drawn)
    assert drawn[0] == pytest.approx(0)
    assert time.x(time.end) == pytest.approx(600)
    assert len(list(time.ticks(edges[0]))) <= 40


def test_a_moment_before_the_one_that_is_counted_from_has_one_sign() -> None:
    assert after(9.84) == "+9.8 s"
    assert after(-3599.9) == "-59:59.9"
