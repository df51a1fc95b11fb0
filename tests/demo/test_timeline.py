from itertools import count

import pytest

from dr.core import events as e
from dr.core.plan import Plan, PlannedStep
from dr.core.timestamp import iso
from dr.demo import timeline
from dr.demo.timeline import Moments, Observed, Phase
from dr.demo.traffic import Traffic, Visit

KINDS = {"off": "feature.disable", "look": "health.verify", "end": "queries.terminate", "move": "reads.shift"}
PLAN = Plan(
    runbook="r",
    title="",
    environment="",
    mode="graceful",
    stages=tuple((PlannedStep(id=name, kind=kind, summary=""),) for name, kind in KINDS.items()),
)
SEEN = Observed(normal=0.0, released=2.0, detected=4.0, over=12.0)


def entries(*events: e.Event) -> list[e.Entry]:
    """One entry a second, from 5 s on."""
    times = count(5)
    return [
        e.Entry(prev="", seq=number, run="r", at=iso(next(times)), actor="", event=event)
        for number, event in enumerate(events)
    ]


def test_the_journal_tells_when_each_effect_was_seen_and_when_ending_the_queries_first_began() -> None:
    journal = entries(
        e.StepDone(step="off", attempt=1),
        e.StepDone(step="look", attempt=1),
        e.ApplyStarted(step="end", attempt=1),
        e.ApplyStarted(step="end", attempt=2),
        e.StepDone(step="end", attempt=2),
        e.StepDone(step="move", attempt=1),
        e.HealthObserved(well=True),
    )
    assert timeline.moments(journal, PLAN) == Moments(disabled=5, ending=7, ended=9, moved=10, recovered=11)


def test_a_run_that_did_not_recover_has_no_moments() -> None:
    steps = [e.StepDone(step=step, attempt=1) for step in KINDS]
    journal = entries(e.ApplyStarted(step="end", attempt=1), *steps, e.HealthObserved(well=False))
    with pytest.raises(KeyError):
        timeline.moments(journal, PLAN)


def test_each_phase_counts_its_own_visitors() -> None:
    def served(number: int) -> bool:
        return number < 2 or number >= 8

    visits = {number: Visit(number, float(number), "home", 200 if served(number) else 503, 0.1) for number in range(12)}
    at = Moments(disabled=5, ending=7, ended=8, moved=9, recovered=11)
    found = timeline.phases(Traffic(0.0, 1.0, visits), SEEN, at)
    assert [(phase.affected, phase.visitors) for phase in found] == [(0, 2), (1, 1), (2, 2), (0, 3)]
    assert all(phase.as_claimed for phase in found)


@pytest.mark.parametrize(
    "phase",
    [
        Phase("too well for an outage", affected=79, visitors=100, at_least=0.8),
        Phase("not well enough", affected=1, visitors=100, below=0.01),
        Phase("nobody came", affected=0, visitors=0, below=0.01),
    ],
)
def test_what_is_not_as_claimed_is_seen(phase: Phase) -> None:
    assert not phase.as_claimed
