from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dr.core import decide as d
from dr.core import events as e
from dr.core import state as s
from dr.core.plan import Plan
from dr.report.phases import Gap
from dr.report.timeline import Timeline, timeline
from tests.report.recorded import OVERLOAD, START, Happened, at, entries, plan, recovered, started, step

ONE = plan(step("only"), steady_state=None)
ASKED = e.Question(about="in-doubt", step="only", text="?", choices=("retry", "done", "skip", "rollback", "abort"))


def phases(run: Timeline, step: str) -> list[tuple[str, float, float, int]]:
    """What a step was doing: word, from and to in seconds after the start, attempt."""
    lane = next(lane for lane in run.lanes if lane.step == step)
    return [(phase.doing, phase.start - START, phase.end - START, phase.attempt) for phase in lane.phases]


def gaps(run: Timeline) -> list[tuple[str, float, float]]:
    return [(gap.why, gap.start - START, gap.end - START) for gap in run.gaps]


def told(happened: list[Happened], of: Plan = ONE) -> Timeline:
    return timeline(of, entries(happened))


def test_attempt_wait_and_second_attempt_are_told_apart() -> None:
    assert phases(told(recovered(), OVERLOAD), "end-queries") == [
        ("look", 2.25, 2.5, 1),
        ("apply", 2.5, 3.0, 1),
        ("wait", 3.0, 3.5, 2),
        ("look", 3.5, 3.75, 2),
        ("apply", 3.75, 4.0, 2),
        ("look", 4.0, 5.0, 2),
    ]


def test_steady_state_is_held_in_a_phase_of_its_own() -> None:
    assert phases(told(recovered(), OVERLOAD), "steady-state") == [("hold", 7.0, 12.5, 1)]


def test_steps_side_by_side_have_phases_at_the_same_time() -> None:
    both = plan((step("left"), step("right")), steady_state=None)
    run = told(
        [(0, started(both)), (2, e.StepDone(step="left", attempt=0)), (3, e.StepDone(step="right", attempt=0))], both
    )
    assert phases(run, "left") == [("look", 0, 2, 1)]
    assert phases(run, "right") == [("look", 0, 3, 1)]


def test_step_left_behind_by_a_lost_process_is_in_doubt_since_its_last_entry() -> None:
    happened: list[Happened] = [
        (0, started(ONE)),
        (1, e.ApplyStarted(step="only", attempt=1)),
        (60, e.RunResumed(host="ops-2")),
        (61, e.StepDone(step="only", attempt=1)),
    ]
    run = told(happened)
    assert phases(run, "only") == [("look", 0, 1, 1), ("apply", 1, 1, 1), ("doubt", 1, 61, 1)]
    assert gaps(run) == [("lost", 1, 60)]


def test_step_that_was_only_looked_at_when_the_process_was_lost_is_not_in_doubt() -> None:
    run = told([(0, started(ONE)), (60, e.RunResumed()), (61, e.ApplyStarted(step="only", attempt=1))])
    assert phases(run, "only") == [("look", 0, 0, 1), ("look", 60, 61, 1), ("apply", 61, 61, 1)]


def test_nothing_is_done_while_the_run_is_stopped() -> None:
    happened: list[Happened] = [
        (0, started(ONE)),
        (1, e.ApplyStarted(step="only", attempt=1)),
        (2, e.AttemptFailed(step="only", attempt=1, error="no", not_before=at(9))),
        (3, e.RunStopped(because="Ctrl-C")),
        (20, e.RunResumed()),
        (21, e.ApplyStarted(step="only", attempt=2)),
    ]
    run = told(happened)
    assert phases(run, "only")[2:] == [
        ("wait", 2, 3, 2),
        ("wait", 20, 20, 2),
        ("look", 20, 21, 2),
        ("apply", 21, 21, 2),
    ]
    assert gaps(run) == [("stopped", 3, 20)]


def test_step_in_doubt_stays_so_while_the_operator_is_asked() -> None:
    happened: list[Happened] = [
        (0, started(ONE)),
        (1, e.ApplyStarted(step="only", attempt=1)),
        (2, e.StepUnseen(step="only", attempt=1, why="no answer", not_before=at(3))),
        (4, e.StepUnseen(step="only", attempt=1, why="no answer")),
        (4, e.Paused(question=ASKED)),
        (5, e.RunStopped(because="Ctrl-C")),
        (80, e.RunResumed()),
        (90, e.OperatorAnswered(choice="done")),
    ]
    run = told(happened)
    assert phases(run, "only") == [("look", 0, 1, 1), ("apply", 1, 2, 1), ("doubt", 2, 90, 1)]
    assert gaps(run) == [("asked", 4, 90)]


def test_open_question_lasts_until_the_last_entry() -> None:
    happened: list[Happened] = [
        (0, started(ONE)),
        (1, e.AttemptFailed(step="only", attempt=1, error="no")),
        (1, e.Paused(question=e.Question(about="failed", step="only", text="?", choices=("retry",)))),
        (7, e.RunResumed()),
    ]
    assert told(happened).gaps == (Gap("asked", START + 1, START + 7),)


def test_undo_is_told_from_apply_and_from_the_look_after_it() -> None:
    happened: list[Happened] = [
        (0, started(ONE)),
        (1, e.ApplyStarted(step="only", attempt=1)),
        (2, e.RollbackStarted(because="wrong feature")),
        (2, e.UndoStarted(step="only", attempt=1)),
        (3, e.UndoFailed(step="only", attempt=1, error="no", not_before=at(4))),
        (4, e.UndoStarted(step="only", attempt=2)),
        (5, e.UndoReturned(step="only", attempt=2, claim={"set": True})),
        (7, e.StepUndone(step="only")),
    ]
    assert phases(told(happened), "only")[1:] == [
        ("apply", 1, 2, 1),
        ("undo", 2, 3, 1),
        ("wait", 3, 4, 2),
        ("undo", 4, 5, 2),
        ("look", 5, 7, 2),
    ]


@settings(max_examples=60)
@given(st.data())
def test_phases_of_any_run_follow_each_other_within_the_run(data: st.DataObject) -> None:
    of = plan((step("left"), step("right")), step("last", confirm="sure?"), step("note", reversal="nothing-to-undo"))
    happened = _any_run(of, data)
    run = timeline(of, entries(happened))
    for lane in run.lanes:
        for phase in lane.phases:
            assert START <= phase.start <= phase.end <= START + happened[-1][0]
        for before, after in pairwise(lane.phases):
            assert before.end <= after.start
        changed = {event.step for _, event in happened if isinstance(event, e.ApplyStarted)}
        assert (lane.step in changed) == any(phase.doing == "apply" for phase in lane.phases)
    for one, other in pairwise(run.gaps):
        assert one.end <= other.start


def _any_run(of: Plan, data: st.DataObject) -> list[Happened]:
    """A run in which everything that may happen can."""
    now = 0.0
    happened: list[Happened] = [(now, started(of))]
    state = s.evolve(of, s.NotStarted(), happened[0][1])
    for _ in range(data.draw(st.integers(1, 40))):
        may: list[e.Event] = [e.RunResumed()]
        if not isinstance(happened[-1][1], e.RunStopped):
            may = [*_next(of, state), *may, e.RunStopped(because="Ctrl-C")]
        event = data.draw(st.sampled_from(may))
        now += data.draw(st.sampled_from([0.0, 0.25, 1.0, 30.0]))
        state = s.evolve(of, state, event)
        happened.append((now, event))
        if isinstance(state, s.Ended):
            break
    return happened


def _next(of: Plan, state: s.State) -> list[e.Event]:  # noqa: C901 - one case per action
    """Events that may come next."""
    found: list[e.Event] = []
    for action in d.decide(of, state):
        match action:
            case d.Attempt(step=planned, number=number):
                found += [
                    e.StepDone(step=planned.id, attempt=0),
                    e.ApplyStarted(step=planned.id, attempt=number),
                    *_failed(e.AttemptFailed, planned.id, number),
                ]
            case d.Settle(step=planned, number=number):
                found += [
                    e.ApplyReturned(step=planned.id, attempt=number),
                    e.StepDone(step=planned.id, attempt=number),
                    e.StepUnseen(step=planned.id, attempt=number, why="no answer"),
                    e.StepUnseen(step=planned.id, attempt=number, why="no answer", not_before=at(20)),
                    *_failed(e.AttemptFailed, planned.id, number),
                ]
            case d.Undo(step=planned, number=number):
                found.append(e.UndoStarted(step=planned.id, attempt=number))
            case d.SettleUndo(step=planned, number=number):
                found += [
                    e.UndoReturned(step=planned.id, attempt=number),
                    e.StepUndone(step=planned.id),
                    *_failed(e.UndoFailed, planned.id, number),
                ]
            case d.CheckHealth():
                found += [e.HealthObserved(well=True), e.HealthObserved(well=False)]
            case d.Skip(step=planned):
                found.append(e.StepSkipped(step=planned.id, comment="not needed"))
            case d.Ask(question=question):
                found.append(e.Paused(question=question))
            case d.Await(question=question):
                found += [e.OperatorAnswered(choice=choice) for choice in question.choices]
            case d.RollBack(because=because):
                found.append(e.RollbackStarted(because=because))
            case d.End(finish=finish, service=service):
                found.append(e.RunEnded(finish=finish, service=service))
    return found


def _failed(kind: Any, step: str, number: int) -> list[e.Event]:
    return [kind(step=step, attempt=number, error="no"), kind(step=step, attempt=number, error="no", not_before=at(15))]
