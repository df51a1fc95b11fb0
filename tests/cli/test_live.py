"""The picture of a run fits the terminal, says in words what it shows in colour, and knows the past."""

import pytest
from rich.segment import Segment

from dr.cli.live import Live
from dr.core import events as e
from dr.core.duration import Duration
from dr.core.plan import STEADY_STATE, Plan, PlannedStep
from dr.core.runbook import Objectives

STEPS = 30
SECRETIVE = "nothing [/is] [red]markup[/red] :smile: \x1b[2J\nhere"


def plan(goal: float | None = 300) -> Plan:
    steps = [PlannedStep(id=f"a-step-with-a-long-name-{n}", kind="note", summary="s") for n in range(STEPS)]
    return Plan(
        runbook="r",
        title="t",
        environment="e",
        mode="graceful",
        stages=tuple((step,) for step in steps),
        objectives=Objectives(rto=None if goal is None else Duration(goal)),
        steady_state=PlannedStep(id=STEADY_STATE, kind="health.verify", summary="s"),
    )


def entry(event: e.Event, at: str = "2023-05-15T14:00:00.000000Z") -> e.Entry:
    return e.Entry(prev="0" * 64, seq=0, run="run", at=at, actor="oncall", event=event)


def step(number: int) -> str:
    return f"a-step-with-a-long-name-{number}"


def lines(live: Live) -> list[str]:
    """The picture as lines of text."""
    rows = live._console.render_lines(live._picture(), pad=False)
    return ["".join(segment.text for segment in Segment.strip_styles(row)) for row in rows]


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 100 columns and 24 lines, where a test says nothing else."""
    for name, value in {"COLUMNS": "100", "LINES": "24", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("columns, rows", [(20, 8), (40, 15), (80, 24), (200, 60)])
def test_the_picture_fits_the_terminal(columns: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    live = Live(plan(), "", [entry(e.StepDone(step=step(n), attempt=1, evidence={"a": "b" * 99})) for n in range(15)])
    live.recorded([entry(e.ApplyStarted(step=step(15), attempt=1))])
    live.say(step(15), SECRETIVE * 9)
    live.notice("stopping")
    seen = lines(live)
    assert len(seen) < rows
    assert all(len(line) <= columns for line in seen)
    assert any("applying" in line for line in seen), "the step being worked on is in sight"
    assert seen[-1].startswith("stopping")


@pytest.mark.parametrize("elapsed, words", [(10.0, "of RTO 5m"), (301.0, "of RTO 5m, MISSED")])
def test_a_missed_objective_is_said_in_words(elapsed: float, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live(plan(), "2023-05-15T14:00:00.000000Z", [])
    monkeypatch.setattr("dr.cli.live.time.time", lambda: live._since + elapsed)
    assert lines(live)[-1].rstrip().endswith(f"elapsed {elapsed:.1f} s {words}")


def test_the_recovery_time_of_a_resumed_run_counts_from_the_detection() -> None:
    started = e.RunStarted(plan="", runbook="r", environment="e", mode="graceful")
    detected = e.RunStarted(plan="", runbook="r", environment="e", mode="graceful", detected="2023-05-15T14:00:00Z")
    at = "2023-05-15T14:05:00.000000Z"
    assert Live(plan(), "", [entry(started, at)])._since - Live(plan(), "", [entry(detected, at)])._since == 300


def test_a_resumed_run_shows_what_was_done_and_what_is_in_doubt() -> None:
    question = e.Question(about="failed", step=step(2), text="it failed", choices=("skip",))
    live = Live(
        plan(),
        "",
        [
            entry(e.StepDone(step=step(0), attempt=1)),
            entry(e.StepSkipped(step=step(1), comment="lost")),
            entry(e.Paused(question=question)),
            entry(e.OperatorAnswered(choice="skip", comment="not needed")),
            entry(e.ApplyStarted(step=step(3), attempt=1)),
        ],
    )
    assert [line.split()[2:] for line in lines(live)[:5]] == [
        ["done"],
        ["skipped", "lost"],
        ["skipped", "not", "needed"],
        ["in", "doubt"],
        ["waiting"],
    ]


def test_what_a_target_says_is_shown_as_it_is() -> None:
    live = Live(plan(), "", [])
    live.say(step(0), SECRETIVE)
    assert r"nothing [/is] [red]markup[/red] :smile: \x1b[2J\nhere" in lines(live)[0]
