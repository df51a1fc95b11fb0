import msgspec
import pytest

from dr.core import events as e
from dr.core import state as s
from dr.core.duration import Duration
from dr.core.plan import Plan
from dr.core.runbook import Objectives
from dr.errors import JournalBroken
from dr.report.timeline import Timeline, timeline
from tests.report.recorded import OVERLOAD, START, Happened, at, entries, plan, recovered, started, step

ONE = plan(step("only"), steady_state=None)


def told(happened: list[Happened], of: Plan = OVERLOAD) -> Timeline:
    return timeline(of, entries(happened))


def ends(run: Timeline) -> dict[str, str]:
    return {lane.step: lane.ending for lane in run.lanes}


def test_recovery_ends_when_the_steady_state_has_held_and_not_with_the_last_step() -> None:
    measured = told(recovered()).measured
    assert measured.detected == START - 2
    assert measured.last_effect == START + 7
    assert measured.well == START + 12.5
    assert measured.recovery_time == 14.5


def test_recovery_counts_from_the_start_when_nobody_said_when_it_was_detected() -> None:
    happened = [(0.0, started(OVERLOAD, detected="")), *recovered()[1:]]
    assert told(happened).measured.recovery_time == 12.5


@pytest.mark.parametrize("rto, met", [(15, True), (14.5, True), (14.4, False), (None, None)])
def test_objective_is_met_up_to_its_last_moment(rto: float | None, met: bool | None) -> None:
    of = plan(*OVERLOAD.stages, objectives=Objectives(rto=None if rto is None else Duration(rto)))
    assert told([(0.0, started(of)), *recovered()[1:]], of).measured.rto_met is met


def test_objective_is_neither_met_nor_missed_without_a_recovery() -> None:
    happened = [*recovered()[:-2], (12.5, e.HealthObserved(well=False))]
    measured = told(happened).measured
    assert (measured.recovery_time, measured.rto_met) == (None, None)


def test_every_step_has_its_ending() -> None:
    assert ends(told(recovered())) == {
        "disable-feature": "done", "is-that-enough": "skipped", "end-queries": "done", "shift-reads": "done",
        "steady-state": "held",
    }  # fmt: skip
    assert ends(told(recovered()[:2])) == {
        "disable-feature": "in doubt", "is-that-enough": "not reached", "end-queries": "not reached",
        "shift-reads": "not reached", "steady-state": "not reached",
    }  # fmt: skip


def test_step_found_in_place_is_told_from_one_that_was_changed() -> None:
    happened: list[Happened] = [(0, started(ONE)), (1, e.StepDone(step="only", attempt=0))]
    run = told(happened, ONE)
    assert ends(run) == {"only": "in place"}
    assert run.measured.last_effect is None


def test_the_operators_word_is_told_from_an_observation() -> None:
    question = e.Question(about="in-doubt", step="only", text="?", choices=("retry", "done", "skip", "abort"))
    happened: list[Happened] = [
        (0, started(ONE)),
        (1, e.ApplyStarted(step="only", attempt=1)),
        (2, e.StepUnseen(step="only", attempt=1, why="no answer")),
        (2, e.Paused(question=question)),
        (9, e.OperatorAnswered(choice="done")),
    ]
    run = told(happened, ONE)
    assert ends(run) == {"only": "ruled done"}
    assert run.ruled == ("only",)
    assert run.measured.last_effect is None


def test_ruling_is_remembered_after_the_step_was_undone() -> None:
    question = e.Question(about="undo-failed", step="only", text="?", choices=("retry", "done", "skip", "abort"))
    happened: list[Happened] = [
        (0, started(ONE)),
        (1, e.ApplyStarted(step="only", attempt=1)),
        (2, e.RollbackStarted(because="wrong feature")),
        (2, e.UndoStarted(step="only", attempt=1)),
        (3, e.UndoFailed(step="only", attempt=1, error="no answer")),
        (3, e.Paused(question=question)),
        (9, e.OperatorAnswered(choice="done")),
        (9, e.RunEnded(finish="rolled-back", service="not-checked")),
    ]
    run = told(happened, ONE)
    assert ends(run) == {"only": "ruled undone"}
    assert run.ruled == ("only",)
    assert run.state == s.Ended("rolled-back", "not-checked")


def test_everyone_who_wrote_an_entry_is_named_once() -> None:
    written = entries(recovered())
    shared = [*written[:5], *(msgspec.structs.replace(entry, actor="grace") for entry in written[5:])]
    assert timeline(OVERLOAD, shared).actors == ("ada", "grace")


def test_clock_that_went_back_is_told_and_nothing_lasts_less_than_nothing() -> None:
    happened = recovered()
    happened[3] = (-5.0, happened[3][1])
    run = told(happened)
    assert run.measured.set_back == pytest.approx(5.2)
    assert all(phase.seconds >= 0 for lane in run.lanes for phase in lane.phases)


def test_entry_that_cannot_follow_is_named() -> None:
    happened = [*recovered()[:2], (3.0, e.StepDone(step="shift-reads", attempt=1))]
    with pytest.raises(JournalBroken, match=r"entry 2: step-done of shift-reads cannot follow"):
        told(happened)


@pytest.mark.parametrize("time", ["yesterday", "2023-05-15T14:00:00", ""])
def test_time_that_cannot_be_read_is_a_broken_entry(time: str) -> None:
    written = entries(recovered())
    written[4] = msgspec.structs.replace(written[4], at=time)
    with pytest.raises(JournalBroken, match="entry 4"):
        timeline(OVERLOAD, written)


def test_time_of_detection_may_be_of_any_zone() -> None:
    happened = [(0.0, started(OVERLOAD, detected="2023-05-15T09:59:58-04:00")), *recovered()[1:]]
    assert told(happened).measured.detected == START - 2
    assert at(-2) == "2023-05-15T13:59:58.000000Z"
