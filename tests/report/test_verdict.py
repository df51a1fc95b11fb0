import msgspec
import pytest

from dr.core import events as e
from dr.core.duration import Duration
from dr.core.runbook import Objectives
from dr.report.timeline import Timeline, timeline
from dr.report.verdict import actual, headline, in_brief, results
from tests.report.recorded import OVERLOAD, Happened, at, entries, plan, recovered, started, step

MET = "the recovery time objective of 5m was met"
UNKNOWN = "there is no recovery to hold against the objective of 5m"
ASKED = e.Question(about="steady-state", step="steady-state", text="?", choices=("retry", "accept"))


def ended(finish: e.Finish, service: e.Service) -> list[Happened]:
    """A run of one step that came out so."""
    of = plan(step("only"), steady_state=None) if service == "not-checked" else plan(step("only"))
    happened: list[Happened] = [(0, started(of)), (1, e.ApplyStarted(step="only", attempt=1))]
    if finish == "completed":
        happened += [(2, e.StepDone(step="only", attempt=1))]
    elif finish == "rolled-back":
        happened += [(2, e.RollbackStarted(because="no"))]
        happened += [(2, e.UndoStarted(step="only", attempt=1)), (3, e.StepUndone(step="only"))]
    else:
        question = e.Question(about="in-doubt", step="only", text="?", choices=("retry", "abort"))
        happened += [(2, e.StepUnseen(step="only", attempt=1, why="no"))]
        happened += [(2, e.Paused(question=question)), (3, e.OperatorAnswered(choice="abort"))]
    if service != "not-checked":
        happened += [(8, e.HealthObserved(well=service == "well"))]
    if service == "deviated":
        happened += [(8, e.Paused(question=ASKED)), (8, e.OperatorAnswered(choice="accept"))]
    return [*happened, (8, e.RunEnded(finish=finish, service=service))]


def told(happened: list[Happened], **given: object) -> Timeline:
    checked = any(isinstance(event, e.HealthObserved) for _, event in happened)
    of = plan(step("only"), **({} if checked else {"steady_state": None}), **given)
    return timeline(of, entries(happened))


@pytest.mark.parametrize(
    "finish, service, said, objective",
    [
        ("completed", "well", "Recovered in 10.0 s", MET),
        ("completed", "deviated", "Deviated: the steps were carried out, but the steady state did not hold", UNKNOWN),
        ("completed", "not-checked", "Finished in 8.0 s; whether the service is well was not checked", UNKNOWN),
        ("rolled-back", "well", "Rolled back in 8.0 s; the steady state held", MET),
        ("rolled-back", "deviated", "Rolled back in 8.0 s; the steady state did not hold", UNKNOWN),
        ("rolled-back", "not-checked", "Rolled back in 8.0 s; whether the service is well was not checked", UNKNOWN),
        ("aborted", "not-checked", "Aborted after 8.0 s: what was applied stays applied", UNKNOWN),
    ],
)
def test_headline_says_how_it_came_out(finish: e.Finish, service: e.Service, said: str, objective: str) -> None:
    assert headline(told(ended(finish, service))) == f"{said}; {objective}."


def test_missed_objective_says_by_how_much() -> None:
    run = told(ended("completed", "well"), objectives=Objectives(rto=Duration(4)))
    assert headline(run) == "Recovered in 10.0 s; the recovery time objective of 4s was MISSED by 6.0 s."
    assert [result.good for result in results(run)] == [True, True, False]


@pytest.mark.parametrize(
    "goal, objective, good",
    [
        (30, "the recovery time objective of 30s was met", True),
        (6, "whether the recovery time objective of 6s was met is not known, the clock went back by 5.0 s", None),
        (3, "the recovery time objective of 3s was MISSED by at least 1.0 s", False),
    ],
)
def test_clock_that_went_back_makes_no_recovery_shorter(goal: int, objective: str, good: bool | None) -> None:
    """Detected at -2 s, done at 2 s, well at -3 s: it took 4 s, and nobody can tell how much more."""
    happened = ended("completed", "well")
    happened[3:] = [(-3, event) for _, event in happened[3:]]
    run = told(happened, objectives=Objectives(rto=Duration(goal)))
    assert headline(run) == f"Recovered in at least 4.0 s; {objective}."
    assert results(run)[2].good is good


def test_detection_by_a_clock_that_is_ahead_makes_no_recovery_shorter() -> None:
    happened = ended("completed", "well")
    happened[0] = (0, started(plan(step("only")), detected=at(60)))
    run = told(happened, objectives=Objectives(rto=Duration(30)))
    assert "Recovered in at least 0 s; whether the recovery time objective of 30s was met is not known" in headline(run)


def test_run_without_an_objective_says_so() -> None:
    run = told(ended("completed", "well"), objectives=Objectives())
    assert headline(run) == "Recovered in 10.0 s; no recovery time objective was set."
    assert results(run)[2].detail == "from detection; no objective"


@pytest.mark.parametrize("size, said", [(2, "running stage 1"), (8, "running stage 3")])
def test_run_that_goes_on_or_was_lost_has_not_ended(size: int, said: str) -> None:
    run = timeline(OVERLOAD, entries(recovered()[:size]))
    assert headline(run).startswith(f"Not ended: at its last entry it was {said}; ")
    assert [result.good for result in results(run)] == [False, None, False]


def test_run_at_a_question_says_what_it_waits_for() -> None:
    question = e.Question(about="failed", step="only", text="?", choices=("retry",))
    happened: list[Happened] = [
        (0, started(OVERLOAD)),
        (1, e.AttemptFailed(step="only", attempt=1, error="no")),
        (1, e.Paused(question=question)),
    ]
    run = told(happened)
    assert headline(run).startswith("Not ended: it waits for an answer about only; ")
    assert results(run)[0].answer == "no: a question is open"


def test_finish_and_service_are_two_results() -> None:
    finished, service, recovery = results(told(ended("completed", "deviated")))
    assert (finished.answer, finished.good) == ("yes", True)
    assert (service.answer, service.good) == ("no", False)
    assert (recovery.answer, recovery.good) == ("no recovery was measured", False)


def test_rolling_back_is_neither_good_nor_bad() -> None:
    assert results(told(ended("rolled-back", "well")))[0].good is None


def test_steps_are_counted_by_how_they_ended() -> None:
    assert results(timeline(OVERLOAD, entries(recovered())))[0].detail == "3 done, 1 skipped"


@pytest.mark.parametrize(
    "rpo, detail, good",
    [
        (Duration(10), "objective 10s: met", True),
        (Duration(0), "objective 0s: not shown to be met", None),
        (None, "no objective", None),
    ],
)
def test_data_lost_is_held_against_its_objective(rpo: Duration | None, detail: str, good: bool | None) -> None:
    """A second attempt finds the server promoted and measures nothing; what the first one measured stands."""
    happened = ended("completed", "well")
    measured = e.ApplyReturned(step="only", attempt=1, claim={"promoted": "db2", "lost_at_most_seconds": 3.2})
    happened[2:2] = [(2, measured), (2, e.AttemptFailed(step="only", attempt=1, error="no", not_before=at(2)))]
    happened[4:4] = [(2, e.ApplyStarted(step="only", attempt=2)), (2, e.ApplyReturned(step="only", attempt=2))]
    happened[6] = (2, e.StepDone(step="only", attempt=2))
    result = results(told(happened, objectives=Objectives(rpo=rpo)))[3]
    assert (result.answer, result.detail, result.good) == ("at most 3.2 s of writes", detail, good)


def test_data_lost_is_not_told_where_no_heartbeat_could_be_read() -> None:
    happened = ended("completed", "well")
    happened[2:2] = [
        (2, e.ApplyReturned(step="only", attempt=1, claim={"lost_at_most_seconds": None, "why": "no table"}))
    ]
    assert len(results(told(happened))) == 3


def test_a_miss_that_rounding_would_hide_is_told_by_how_much() -> None:
    """`1 m 00 s, objective 1m: MISSED` would be taken for a mistake."""
    plan = msgspec.structs.replace(OVERLOAD, objectives=Objectives(rto=Duration(60)))
    happened = [(0.0, started(plan, detected=at(-47.6))), *recovered(plan)[1:]]
    run = timeline(plan, entries(happened))
    assert list(in_brief(run.measured)) == ["recovery took 1 m 00 s, RTO 1m MISSED by 100 ms"]
    assert list(actual(run.measured)) == [
        "actual recovery time: 1 m 00 s from detection; objective 1m: MISSED by 100 ms"
    ]
    assert headline(run).endswith("the recovery time objective of 1m was MISSED by 100 ms.")
