"""What is to be done where a run stands."""

import pytest

from dr.core import decide as d
from dr.core import events as e
from dr.core import state as s
from dr.core.decide import decide
from tests.simulated.plans import HEALTH, plan, step

A, B, C = step("a"), step("b"), step("c", skip="ungraceful")
BLIND = step("v", kind="blind-switch", observable=False)
FINAL = step("n", reversal="impossible")
APPLIED = (s.Applied("a", {"value": "off"}),)


def stage(*standings: s.Standing, applied: tuple[s.Applied, ...] = ()) -> s.Running:
    return s.Running(0, standings, applied)


def asked(*actions: d.Action) -> e.Question:
    """The question that is the only thing to do."""
    (action,) = actions
    assert isinstance(action, d.Ask)
    return action.question


def test_before_the_start_and_after_the_end_there_is_nothing_to_do() -> None:
    assert decide(plan(A), s.NotStarted()) == ()
    assert decide(plan(A), s.Ended("completed", "well")) == ()


def test_everything_of_a_stage_that_is_ready_begins_side_by_side() -> None:
    state = stage(s.Ready(1), s.Ready(3, "then"), s.Ready(1))
    assert decide(plan((A, B, C)), state) == (d.Attempt(A, 1), d.Attempt(B, 3, "then"), d.Skip(C, "ungraceful"))


def test_what_is_in_doubt_comes_first_and_does_not_hold_up_the_step_beside_it() -> None:
    state = stage(s.Ready(1), s.InDoubt(2, 1, "then"))
    assert decide(plan((A, B)), state) == (d.Settle(B, 2, 1, "then"), d.Attempt(A, 1))


@pytest.mark.parametrize("held_up", [s.Failed(1, "?"), s.Doubted(1, "?"), s.Unconfirmed()])
def test_nothing_new_begins_beside_a_failure_a_doubt_or_a_question(held_up: s.Standing) -> None:
    """Safety rule 12."""
    assert asked(*decide(plan((A, B)), stage(s.Ready(1), held_up))).step == "b"
    assert decide(plan((A, B)), stage(s.InDoubt(1), held_up)) == (d.Settle(A, 1),)


def test_a_doubt_is_asked_about_before_a_failure_and_a_failure_before_a_confirmation() -> None:
    beside = step("b", on_failure="rollback")
    state = stage(s.Unconfirmed(), s.Failed(1, "?"), s.Doubted(1, "?"))
    assert asked(*decide(plan((A, beside, FINAL)), state)).step == "n"
    assert decide(plan((A, beside)), stage(s.Unconfirmed(), s.Failed(1, "?"))) == (d.RollBack("b failed: ?"),)


def test_what_is_finished_is_left_alone() -> None:
    assert decide(plan((A, B)), stage(s.Finished(), s.Ready(1))) == (d.Attempt(B, 1),)


def test_a_failure_is_treated_as_its_step_says() -> None:
    """Safety rule 12."""
    for_each = {
        "continue": d.Skip(step("a", on_failure="continue"), "on_failure is continue; it failed: no route"),
        "rollback": d.RollBack("a failed: no route"),
    }
    for on_failure, action in for_each.items():
        failing = step("a", on_failure=on_failure)
        assert decide(plan(failing), stage(s.Failed(3, "no route"))) == (action,)
    question = asked(*decide(plan(A), stage(s.Failed(3, "no route"))))
    assert question == e.Question(
        about="failed", step="a", text="a failed: no route", choices=("retry", "skip", "rollback", "abort")
    )


def test_a_rollback_is_not_offered_past_the_point_of_no_return() -> None:
    """Safety rule 6."""
    past = (s.Applied("n", {}),)
    failing = step("b", on_failure="rollback")
    deviating: s.State = s.Deviating("completed", past, {})
    stands = {
        "no-return": (plan((FINAL, failing)), stage(s.Finished(), s.Failed(1, "?"), applied=past)),
        "failed": (plan((FINAL, B)), stage(s.Finished(), s.Failed(1, "?"), applied=past)),
        "in-doubt": (plan(FINAL), stage(s.Doubted(1, "?"), applied=past)),
        "confirm": (plan((FINAL, B)), stage(s.Finished(), s.Unconfirmed(), applied=past)),
        "steady-state": (plan(FINAL), deviating),
    }
    for about, (any_plan, state) in stands.items():
        question = asked(*decide(any_plan, state))
        assert question.about == about
        assert "rollback" not in question.choices


def test_a_doubt_that_can_be_looked_at_again_says_so_and_one_that_cannot_says_that() -> None:
    """Safety rule 4."""
    seen = asked(*decide(plan(A), stage(s.Doubted(1, "the view is blocked"))))
    assert "a may or may not have taken effect: the view is blocked. Look at it yourself." in seen.text
    assert "retry: look again, and apply it again if it is not there" in seen.text
    unseen = asked(*decide(plan(BLIND), stage(s.Doubted(1, "?"))))
    assert "retry: apply it again" in unseen.text
    assert seen.choices == unseen.choices == ("retry", "done", "skip", "rollback", "abort")


def test_the_last_that_was_applied_is_undone_first() -> None:
    """Safety rule 5."""
    left = (*APPLIED, s.Applied("b", {"value": "low"}))
    both = plan(A, B)
    assert decide(both, s.RollingBack(left, s.Ready(2, "then"))) == (d.Undo(B, 2, {"value": "low"}, "then"),)
    assert decide(both, s.RollingBack(left, s.InDoubt(2))) == (d.SettleUndo(B, 2, {"value": "low"}),)
    question = asked(*decide(both, s.RollingBack(left, s.Failed(2, "no route"))))
    assert (question.about, question.step) == ("undo-failed", "b")
    assert question.choices == ("retry", "done", "skip", "abort")


def test_the_steady_state_is_observed_before_the_end() -> None:
    """Safety rule 14."""
    assert decide(plan(A), s.Verifying("completed")) == (d.CheckHealth(HEALTH),)
    assert decide(plan(A), s.Closing("completed", "well")) == (d.End("completed", "well"),)


@pytest.mark.parametrize(
    "evidence, text",
    [
        ({}, "the steady state does not hold"),
        ({"findings": ["/: 503", "lag 9 s"]}, "the steady state does not hold: /: 503; lag 9 s"),
        ({"findings": 3}, "the steady state does not hold"),
    ],
)
def test_a_deviation_is_asked_about_with_what_was_found(evidence: dict[str, object], text: str) -> None:
    question = asked(*decide(plan(A), s.Deviating("completed", (), evidence)))
    assert question == e.Question(
        about="steady-state", step="steady-state", text=text, choices=("retry", "rollback", "accept")
    )
    after = asked(*decide(plan(A), s.Deviating("rolled-back", (), evidence)))
    assert after.choices == ("retry", "accept")


def test_an_open_question_is_waited_for() -> None:
    question = e.Question(about="failed", step="a", text="?", choices=("retry",))
    assert decide(plan(A), s.Paused(question, stage(s.Failed(1, "?")))) == (d.Await(question),)
