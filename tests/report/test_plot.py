import re

from dr.report.axis import axis
from dr.report.exhibit import Mark, Series
from dr.report.plot import TALL, plot
from tests.report.parsed import parse
from tests.report.recorded import START

SERIES = Series(
    title="Users affected",
    unit="%",
    points=((START, 0.0), (START + 2, 80.0), (START + 4, 20.0)),
    until=START + 10,
    top=100.0,
    marks=(Mark(at=START + 2, label="released"), Mark(at=START + 4, label="recovered")),
)
TIME = axis(START, START + 10, [], 100, 500)


def test_every_value_is_a_step_from_its_moment_to_the_next() -> None:
    curve = next(parse(plot(SERIES, START, TIME)).all("path", "curve")).attributes["d"]
    moves = re.findall(r"([MHV])([\d.]+)(?: ([\d.]+))?", curve)
    bottom = float(moves[0][2])
    drawn = [(kind, float(first)) for kind, first, _ in moves]
    assert drawn[0] == ("M", 100.0)
    assert [first for kind, first in drawn if kind == "H"] == [100, 200, 300, 600]
    assert [first for kind, first in drawn if kind == "V"] == [bottom, bottom - TALL * 0.8, bottom - TALL * 0.2]


def test_plot_says_its_highest_and_last_value_and_its_marks() -> None:
    words = [node.text for node in parse(plot(SERIES, START, TIME)).all("text")]
    assert {"highest 80 %", "last 20 %", "released", "recovered", "0 %", "100 %", "2 s"} <= set(words)


def test_series_of_nothing_but_zero_is_drawn() -> None:
    flat = Series(title="t", unit="", points=((START, 0.0),), until=START + 1)
    assert "highest 0 " in [node.text for node in parse(plot(flat, START, TIME)).all("text")]
