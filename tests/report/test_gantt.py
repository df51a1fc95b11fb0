import pytest

from dr.core import events as e
from dr.report.axis import axis
from dr.report.drawing import grid
from dr.report.gantt import MOST_LANES, gantt, worth_drawing
from dr.report.markup import element
from dr.report.timeline import Timeline, timeline
from tests.report.parsed import Node, parse
from tests.report.recorded import OVERLOAD, START, Happened, at, entries, plan, recovered, started, step

TIME = axis(START - 2, START + 12.5, [], 100, 580)  # 40 to the second


def drawn(run: Timeline) -> Node:
    return parse(gantt(run.lanes, run, TIME))


def bars(chart: Node, row: int) -> list[tuple[str, float, float]]:
    """Kind, left edge and width of each bar of a row."""
    group = [node for node in chart.all("g") if any(node.all("line", "rule"))][row]
    return [
        (bar.attributes["class"], float(bar.attributes["x"]), float(bar.attributes["width"]))
        for bar in group.all("rect")
    ]


def test_every_phase_is_a_bar_as_long_as_it_lasted() -> None:
    chart = drawn(timeline(OVERLOAD, entries(recovered())))
    assert bars(chart, 2) == [
        ("look", 270, 10),
        ("apply", 280, 20),
        ("wait", 300, 20),
        ("look", 320, 10),
        ("apply", 330, 10),
        ("look", 340, 40),
    ]
    assert bars(chart, 4) == [("hold", 460, 220)]


def test_every_row_says_in_words_what_its_colours_say() -> None:
    chart = drawn(timeline(OVERLOAD, entries(recovered())))
    words = [node.text for node in chart.all("text")]
    assert "✔ done · 2 attempts · 2.8 s" in words
    assert "look 1.5 s · apply 750 ms · wait 500 ms" in words
    assert "» skipped · 2.0 s" in words
    assert "✔ held · 5.5 s" in words
    assert [node.text for node in chart.all("text", "on-hold")] == ["hold 5.5 s"]
    assert [node.text for node in chart.all("text", "on-apply")] == ["apply"], "the other bars are too narrow"
    titles = [node.text for node in chart.all("title")]
    assert "apply #2: 250 ms, from 5.8 s on" in titles


def test_doubt_gap_and_undo_are_drawn() -> None:
    of = plan(step("only"), steady_state=None)
    happened: list[Happened] = [
        (0, started(of)),
        (1, e.ApplyStarted(step="only", attempt=1)),
        (4, e.RunResumed()),
        (5, e.RollbackStarted(because="no")),
        (5, e.UndoStarted(step="only", attempt=1)),
        (7, e.StepUndone(step="only")),
    ]
    chart = drawn(timeline(of, entries(happened)))
    assert bars(chart, 0) == [("look", 180, 40), ("apply", 220, 2), ("doubt", 220, 160), ("undo", 380, 80)]
    assert [(band.attributes["x"], band.attributes["width"]) for band in chart.all("rect", "gap")] == [("220", "120")]
    assert "process gone 3.0 s" in [node.text for node in chart.all("text")]


def test_words_on_top_do_not_cover_each_other() -> None:
    of = plan(step("only"), steady_state=None)
    run = timeline(of, entries([(0, started(of, detected=at(-0.1))), (0.1, e.StepDone(step="only", attempt=0))]))
    flags = [(node.attributes["x"], node.attributes["y"]) for node in drawn(run).all("text", "flag")]
    assert len(flags) == 2
    assert flags[0][1] != flags[1][1]


@pytest.mark.parametrize("size", [MOST_LANES, 500])
def test_chart_of_a_long_plan_shows_what_went_wrong_and_what_took_long(size: int) -> None:
    of = plan(*(step(f"s{number}") for number in range(size)))
    happened: list[Happened] = [(0, started(of))]
    now = 0.0
    for number in range(size):
        name, long = f"s{number}", number in {100, 300}
        happened.append((now, e.ApplyStarted(step=name, attempt=1)))
        if number == 200:
            happened.append((now, e.AttemptFailed(step=name, attempt=1, error="no", not_before=at(now))))
            happened.append((now, e.ApplyStarted(step=name, attempt=2)))
        now += 5.0 if long else 0.001
        happened.append((now, e.StepDone(step=name, attempt=2 if number == 200 else 1)))
    chosen = [lane.step for lane in worth_drawing(timeline(of, entries(happened)).lanes)]
    assert len(chosen) == MOST_LANES
    assert chosen == sorted(chosen, key=lambda name: int(name[1:]) if name != "steady-state" else size)
    if size > 300:
        assert {"s100", "s200", "s300", "steady-state"} <= set(chosen)


def test_distances_of_milliseconds_are_round_numbers() -> None:
    """Seconds since 1970 in a float are off by a fraction of a microsecond."""
    zero = 1795465357.7626462
    marks = element("svg", *grid(axis(zero, zero + 0.016, [], 0, 600), zero, 0, 10))
    labels = [node.text for node in parse(marks).all("text")]
    assert labels[:4] == ["0 s", "0.002 s", "0.004 s", "0.006 s"]
