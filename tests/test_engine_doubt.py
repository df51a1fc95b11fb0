"""What the engine does about doubt and failure: safety rules 1 to 6 (`dr/core/__init__.py`).

Each simulation is refereed: every call on the store is judged by the durable entries alone (`tests/simulated/`).
"""

import contextlib
from typing import ClassVar

import msgspec
import pytest

from dr.core import events as e
from dr.core import state as s
from dr.core.duration import Duration
from dr.core.runbook import Retry
from dr.core.step import Evidence, Here, NotInPlace, Observation, Step
from dr.engine import GRACE, Waiting
from dr.errors import JournalUnwritable
from tests.simulated import process
from tests.simulated.odd import WELL, use
from tests.simulated.plans import ONCE, plan, step
from tests.simulated.process import Simulation
from tests.simulated.site import LATE, Script

# Rule 1: no effect without a durable intent


@pytest.mark.parametrize("room", range(18))
def test_when_the_journal_takes_no_more_nothing_further_is_touched_and_resume_works_after(room: int) -> None:
    """Safety rules 1 and 8."""
    stages = plan(step("a"), (step("b"), step("c")), step("d", confirm="Sure?"))
    undisturbed = Simulation(stages)
    undisturbed.run()
    assert len(undisturbed.disk.lines) == 17

    simulation = Simulation(stages)
    with pytest.raises(JournalUnwritable) if room < len(undisturbed.disk.lines) else contextlib.nullcontext():
        simulation.engine(room=room).run()
    assert len(simulation.disk.lines) <= room

    if not isinstance(simulation.fold(), s.Ended):
        simulation.run()
    assert simulation.outcome() == undisturbed.outcome()


# Rule 2: neither an error nor a success is proof


def test_a_claim_of_success_without_the_effect_is_a_failed_attempt() -> None:
    """Safety rule 2."""
    simulation = Simulation(plan(step("a")), {"a": Script(apply=["lies", "works"])})

    assert simulation.run() == WELL
    assert "it was applied and is not there: value: off" in simulation.only(e.AttemptFailed).error


def test_an_error_after_the_effect_is_no_failure() -> None:
    """Safety rule 2: failed but persisted."""
    simulation = Simulation(plan(step("a")), {"a": Script(apply=["breaks-off"])})

    assert simulation.run() == WELL
    assert simulation.only(e.ApplyReturned).error == "the site broke off"
    assert simulation.site.calls.count(("apply", "a")) == 1


def test_an_effect_that_comes_late_is_not_brought_about_twice() -> None:
    """Safety rule 2."""
    slow = Retry(attempts=3, strategy="fixed", wait=Duration(LATE + 1), max=Duration(60), jitter=Duration(0))
    simulation = Simulation(plan(step("a", retry=slow)), {"a": Script(apply=["comes-late"])})

    assert simulation.run() == WELL
    assert simulation.site.calls.count(("apply", "a")) == 1


# Rule 3: silence is doubt


@pytest.mark.parametrize("look", ["blind", "raises"])
def test_an_effect_that_cannot_be_seen_leaves_the_step_in_doubt_and_is_not_applied_again(look: str) -> None:
    """Safety rule 3."""
    script = Script(look=["sees", look, look, "sees"])  # type: ignore[list-item]
    simulation = Simulation(plan(step("a")), {"a": script})

    assert simulation.run() == WELL
    assert len(simulation.events(e.StepUnseen)) == 2
    assert not simulation.events(e.AttemptFailed)
    assert simulation.site.calls.count(("apply", "a")) == 1


def test_a_change_without_an_answer_is_given_up_and_looked_for_before_the_operator_is_asked() -> None:
    """Safety rules 3 and 15. It may still be on its way: not seeing it now is no failure."""
    patient = Retry(attempts=10, strategy="fixed", wait=Duration(2), max=Duration(2), jitter=Duration(0))
    hanging = step("a", timeout=Duration(5), retry=patient)
    simulation = Simulation(plan(hanging), {"a": Script(apply=["hangs"])})
    simulation.side_by_side = True

    assert simulation.run() == WELL
    assert simulation.only(e.ApplyReturned).error == "no answer within 5 s"
    assert not simulation.events(e.AttemptFailed)
    assert not simulation.operator.questions
    assert LATE < simulation.clock.now < LATE + 5


def test_the_answer_of_a_change_that_was_given_up_is_not_heard_any_more() -> None:
    """Safety rule 3. It comes while the next step is at work."""
    stages = plan(step("a", timeout=Duration(20)), step("b", timeout=Duration(400)))
    simulation = Simulation(stages, {"a": Script(apply=["hangs"]), "b": Script(took=100)})
    simulation.side_by_side = True

    assert simulation.run() == WELL
    assert simulation.clock.now > LATE * 10


def test_the_answer_of_a_change_that_was_given_up_is_not_taken_for_that_of_a_look() -> None:
    """Safety rule 3. It comes while the same step is looked at."""
    patient = Retry(attempts=30, strategy="fixed", wait=Duration(0), max=Duration(0), jitter=Duration(0))
    hanging = step("a", timeout=Duration(20), retry=patient)
    script = Script(apply=["hangs"], look=["sees", *["blind"] * 15, "sees"], took=15)  # type: ignore[list-item]
    simulation = Simulation(plan(hanging), {"a": script})
    simulation.side_by_side = True

    assert simulation.run() == WELL
    assert simulation.clock.now > LATE * 10
    assert {event.why for event in simulation.events(e.StepUnseen)} == {"the view is blocked"}


def test_a_change_that_was_given_up_and_never_shows_is_ruled_on_and_then_done_again() -> None:
    """Safety rules 2 and 3: the operator's retry ends the wait for it."""
    hanging = step("a", timeout=Duration(5), retry=ONCE)
    simulation = Simulation(plan(hanging), {"a": Script(apply=["hangs", "works"])}, {"in-doubt": ["retry"]})
    simulation.side_by_side = True

    assert simulation.run() == WELL
    assert [question.about for question in simulation.operator.questions] == ["in-doubt", "failed"]
    assert "may still be on its way" in simulation.operator.questions[0].text


def test_a_result_that_waits_to_be_taken_is_not_given_up() -> None:
    """The process was busy (a slow disk, say) for longer than the timeout; meanwhile both answers had come."""
    both = plan((step("a", timeout=Duration(5)), step("b", timeout=Duration(5))), steady_state=None)
    simulation = Simulation(both)
    engine = simulation.engine()
    workers = engine._world.workers
    original = workers.next

    def next_after_a_pause(timeout: float) -> object:
        if len(simulation.site.calls) == 4:
            simulation.clock.wait(60)
        return original(timeout)

    workers.next = next_after_a_pause  # type: ignore[method-assign,assignment]
    assert engine.run() == s.Ended("completed", "not-checked")
    assert not any(event.error for event in simulation.events(e.ApplyReturned))


def test_a_look_without_an_answer_is_a_failed_attempt_that_touched_nothing() -> None:
    simulation = Simulation(
        plan(step("a", timeout=Duration(5), retry=ONCE)), {"a": Script(took=60)}, {"failed": [None]}
    )
    simulation.side_by_side = True

    assert isinstance(simulation.run(), Waiting)
    assert "it could not be looked at: no answer within 5 s" in simulation.only(e.AttemptFailed).error
    assert simulation.clock.now <= 5 + 2 * GRACE + process.THOUGHT


# Rule 4: what cannot be observed


def test_the_doubt_of_a_step_that_cannot_be_observed_goes_to_the_operator_at_once() -> None:
    """Safety rule 4."""
    blind = step("a", kind="blind-switch", observable=False, reversal="impossible")
    simulation = Simulation(plan(blind), {"a": Script(apply=["refuses", "works"])})

    assert simulation.run() == WELL
    assert [question.about for question in simulation.operator.questions] == ["in-doubt", "in-doubt"]
    assert [event.choice for event in simulation.events(e.OperatorAnswered)] == ["retry", "done"]
    assert not any(event.not_before for event in simulation.events(e.StepUnseen))


# Rule 5: exactly what was maybe applied is compensated


def test_exactly_what_was_maybe_applied_is_undone_in_reverse_and_the_steady_state_checked_after() -> None:
    """Safety rule 5. b was in place before the run, c changes nothing, d was applied and never seen."""
    stages = plan(
        step("a"),
        step("b"),
        step("c", reversal="nothing-to-undo"),
        step("d", on_failure="rollback"),
        step("e"),
    )
    scripts = {"b": Script(already=True), "d": Script(apply=["lies"])}
    simulation = Simulation(stages, scripts)

    assert simulation.run() == s.Ended("rolled-back", "deviated")
    assert [event.step for event in simulation.events(e.StepUndone)] == ["d", "a"]
    assert simulation.site.effects() == {"a": "off", "b": "on", "c": "on", "d": "off", "e": "off"}
    assert simulation.kinds()[-4:] == ["health-observed", "paused", "operator-answered", "run-ended"]


def test_undo_goes_back_to_what_stood_before_the_first_attempt() -> None:
    """Safety rule 5. A second attempt finds what the first one left behind; that is not where the run came from."""

    class Counter(Step, frozen=True):
        kind: ClassVar[str] = "counter"
        reversal = "undo"
        value: ClassVar[list[int]] = [0]
        undone: ClassVar[list[Evidence]] = []

        def observe(self, here: Here) -> Observation:
            return NotInPlace({"value": self.value[0]})

        def apply(self, here: Here) -> Evidence:
            self.value[0] += 1
            return {}

        def undo(self, here: Here, before: Evidence) -> Evidence:
            self.undone.append(before)
            return {}

    with pytest.MonkeyPatch.context() as monkeypatch:
        planned = use(monkeypatch, Counter)
        simulation = Simulation(plan(msgspec.structs.replace(planned, on_failure="rollback"), steady_state=None))
        assert simulation.run() == s.Ended("rolled-back", "not-checked")
    assert [event.before for event in simulation.events(e.ApplyStarted)] == [{"value": value} for value in range(3)]
    assert Counter.undone == [{"value": 0}]


@pytest.mark.parametrize("undo", ["refuses", "lies", "breaks-off"])
def test_an_undo_is_tried_again_until_it_is_seen_and_an_error_of_it_is_no_proof(undo: str) -> None:
    """Safety rules 2 and 5."""
    stages = plan(step("a"), step("b", on_failure="rollback", retry=ONCE))
    scripts = {"a": Script(undo=[undo, "works"]), "b": Script(apply=["refuses"])}  # type: ignore[list-item]
    simulation = Simulation(stages, scripts)

    assert simulation.run() == s.Ended("rolled-back", "well")
    assert simulation.site.calls.count(("undo", "a")) == (1 if undo == "breaks-off" else 2)


@pytest.mark.parametrize("answer, value", [("retry", "off"), ("skip", "on"), ("done", "on")])
def test_an_undo_that_keeps_failing_is_the_operators_to_rule_on(answer: e.Choice, value: str) -> None:
    """Safety rules 2 and 12."""
    stages = plan(step("a"), step("b", on_failure="rollback", retry=ONCE), steady_state=None)
    scripts = {"a": Script(undo=["refuses", "refuses", "refuses", "works"]), "b": Script(apply=["refuses"])}
    simulation = Simulation(stages, scripts, {"undo-failed": [answer]})

    assert simulation.run() == s.Ended("rolled-back", "not-checked")
    assert simulation.site.effects()["a"] == value
    assert "undoing a is not confirmed: the site refuses" in simulation.operator.questions[0].text


def test_an_undo_that_cannot_be_seen_is_not_taken_for_done() -> None:
    """Safety rule 3."""
    stages = plan(step("a", retry=ONCE), step("b", on_failure="rollback", retry=ONCE), steady_state=None)
    scripts = {"a": Script(look=["sees", "sees", "blind"]), "b": Script(apply=["refuses"])}
    simulation = Simulation(stages, scripts, {"undo-failed": ["abort"]})

    assert simulation.run() == s.Ended("aborted", "not-checked")
    assert "it cannot be seen: the view is blocked" in simulation.only(e.UndoFailed).error


# Rule 6: the point of no return


def test_nothing_is_undone_past_the_point_of_no_return() -> None:
    """Safety rule 6: the operator is asked instead, and a rollback is not among the answers."""
    stages = plan(step("a"), step("b", reversal="impossible"), step("c", on_failure="rollback", retry=ONCE))
    simulation = Simulation(stages, {"c": Script(apply=["refuses"])}, {"no-return": ["abort"]})

    assert simulation.run() == s.Ended("aborted", "not-checked")
    (question,) = simulation.operator.questions
    assert question.choices == ("retry", "skip", "abort")
    assert question.text == "c failed: the site refuses. A rollback is not possible: b cannot be undone"
    assert ("undo", "a") not in simulation.site.calls
