"""The engine in a simulated world: the course of a run, and stopping it.

Each simulation is refereed: every call on the store is judged by the durable entries alone (`tests/simulated/`).
"""

import contextlib
from typing import ClassVar

import msgspec
import pytest

from dr.core import events as e
from dr.core import state as s
from dr.core.duration import Duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, OutOfTime, Step
from dr.engine import Interrupted, Waiting
from dr.errors import JournalUnwritable
from tests.simulated.journal import MemoryJournal
from tests.simulated.odd import WELL, Healthy, use
from tests.simulated.plans import ONCE, plan, step
from tests.simulated.process import Simulation
from tests.simulated.site import Script

# The course of a run


def test_a_step_is_looked_at_then_applied_then_looked_at_again() -> None:
    simulation = Simulation(plan(step("a"), steady_state=None))

    assert simulation.run() == s.Ended("completed", "not-checked")
    assert simulation.site.calls == [("look", "a"), ("apply", "a"), ("look", "a")]
    assert simulation.kinds() == ["run-started", "apply-started a", "apply-returned a", "step-done a", "run-ended"]


def test_what_is_already_in_place_is_not_applied() -> None:
    simulation = Simulation(plan(step("a")), {"a": Script(already=True)})

    assert simulation.run() == WELL
    assert ("apply", "a") not in simulation.site.calls
    assert simulation.only(e.StepDone) == e.StepDone(step="a", attempt=0, evidence={"value": "on"})


def test_a_step_that_only_looks_fails_an_attempt_when_it_does_not_see_what_it_should() -> None:
    simulation = Simulation(plan(step("a", kind="watch", reversal="nothing-to-undo")), policy={"failed": ["abort"]})

    assert simulation.run() == s.Ended("aborted", "not-checked")
    assert len(simulation.events(e.AttemptFailed)) == 3
    assert not simulation.events(e.ApplyStarted)


def test_steps_of_a_stage_run_side_by_side_and_stages_one_after_the_other() -> None:
    stages = plan((step("a"), step("b"), step("c")), step("d"))
    simulation = Simulation(stages, {name: Script(took=10) for name in "abcd"})
    simulation.side_by_side = True

    assert simulation.run() == WELL
    looks, changes = 2 * 2 * 10, 2 * 10
    assert simulation.clock.now == pytest.approx(looks + changes, abs=1)
    assert simulation.site.calls[:6] == [(what, name) for what in ("look", "apply") for name in "abc"]


def test_a_step_without_targets_is_performed_in_place() -> None:
    simulation = Simulation(plan(step("a", targets=()), steady_state=None))
    assert simulation.run() == s.Ended("completed", "not-checked")
    assert simulation.site.calls == [("look", "a"), ("apply", "a"), ("look", "a")]


def test_each_target_is_opened_once_per_attempt_under_a_label_that_says_who_asks() -> None:
    simulation = Simulation(plan(step("a"), steady_state=None))
    simulation.run()
    run = "20230515T140000Z-simulated-000000"
    assert simulation.site.labels == [f"dr:{run}:a:0", f"dr:{run}:a:1", f"dr:{run}:a:1"]


def test_a_step_that_asks_is_applied_only_after_yes() -> None:
    simulation = Simulation(plan(step("a", confirm="Really?")), policy={"confirm": [None]})

    assert isinstance(simulation.run(), Waiting)
    assert not simulation.site.calls

    simulation.operator._policy = {"confirm": ["yes"]}
    assert simulation.run() == WELL


def test_a_skipped_step_is_passed_over_with_its_reason_in_an_entry() -> None:
    simulation = Simulation(plan(step("a", skip="skipped in an ungraceful run"), step("b"), steady_state=None))

    assert simulation.run() == s.Ended("completed", "not-checked")
    assert simulation.only(e.StepSkipped) == e.StepSkipped(step="a", comment="skipped in an ungraceful run")
    assert {name for _, name in simulation.site.calls} == {"b"}


def test_a_failed_step_that_may_be_passed_over_does_not_stop_the_run() -> None:
    stages = plan(step("a", on_failure="continue", retry=ONCE), step("b"), steady_state=None)
    simulation = Simulation(stages, {"a": Script(apply=["refuses"])})

    assert simulation.run() == s.Ended("completed", "not-checked")
    assert simulation.site.effects() == {"a": "off", "b": "on"}
    assert "the site refuses" in simulation.only(e.StepSkipped).comment


def test_nothing_new_begins_beside_a_failure() -> None:
    """The look of b is in flight when a fails: b is not applied, although it was looked at."""
    both = plan((step("a", retry=ONCE), step("b")))
    simulation = Simulation(both, {"a": Script(look=["raises"]), "b": Script(took=5)}, {"failed": [None]})
    simulation.side_by_side = True

    assert isinstance(simulation.run(), Waiting)
    assert simulation.site.calls == [("look", "a"), ("look", "b")]


def test_a_rollback_waits_for_what_is_still_being_looked_at() -> None:
    both = plan((step("a", retry=ONCE, on_failure="rollback"), step("b")))
    simulation = Simulation(both, {"a": Script(look=["raises"]), "b": Script(already=True, took=5)})
    simulation.side_by_side = True

    assert simulation.run() == s.Ended("rolled-back", "deviated")
    kinds = simulation.kinds()
    assert kinds.index("step-done b") < kinds.index("rollback-started")


def test_a_doubt_is_ruled_on_before_a_failure_beside_it_rolls_the_run_back() -> None:
    both = plan((step("a", on_failure="rollback", retry=ONCE), step("b")))
    simulation = Simulation(both, {"a": Script(apply=["refuses"]), "b": Script(look=["sees", "blind"])})

    assert simulation.run() == s.Ended("rolled-back", "well")
    kinds = simulation.kinds()
    assert kinds.index("operator-answered") < kinds.index("rollback-started")


def test_where_the_run_stands_is_always_the_fold_over_its_entries() -> None:
    """Evidence is taken as the journal will hold it, so a live run and a resumed one see the same."""

    class Tuples(Step, frozen=True):
        kind: ClassVar[str] = "tuples"

        def observe(self, here: Here) -> Observation:
            return NotInPlace({"seen": (1, 2), "held": Duration(5)}) if here.attempt == 0 else InPlace()

        def apply(self, here: Here) -> Evidence:
            return {"done": (1,)}

    with pytest.MonkeyPatch.context() as monkeypatch:
        planned = use(monkeypatch, Tuples)
        simulation = Simulation(plan(planned, step("b", confirm="Go on?")), policy={"confirm": [None]})
        simulation.run()

    assert simulation.only(e.ApplyStarted).before == {"seen": [1, 2], "held": "5s"}


# Stopping


def test_a_wish_to_stop_during_the_look_is_heard_before_the_effect() -> None:
    simulation = Simulation(plan(step("a")), {"a": Script(took=10)})
    simulation.side_by_side = True
    simulation.stop.at = 5

    assert isinstance(simulation.run(), Interrupted)
    assert simulation.site.calls == [("look", "a")]
    assert simulation.kinds()[-1] == "run-stopped"
    assert simulation.disk.checkpoints[-1].size == len(simulation.disk.lines)

    simulation.stop.at = 1000
    assert simulation.run() == WELL


def test_a_wish_to_stop_waits_for_a_change_in_flight_and_its_doubt_is_settled_on_resume() -> None:
    simulation = Simulation(plan(step("a")), {"a": Script(took=10)})
    simulation.side_by_side = True
    simulation.stop.at = 15

    assert isinstance(simulation.run(), Interrupted)
    assert simulation.site.calls == [("look", "a"), ("apply", "a")]

    simulation.stop.at = 1000
    assert simulation.run() == WELL
    assert simulation.site.calls.count(("apply", "a")) == 1


class Sleeper(Step, frozen=True):
    """Waits in `apply` for as long as it may."""

    kind: ClassVar[str] = "sleeper"

    def observe(self, here: Here) -> Observation:
        return InPlace({"waited": here.now()}) if here.attempt else NotInPlace()

    def apply(self, here: Here) -> Evidence:
        with contextlib.suppress(OutOfTime):
            while True:
                here.sleep(1)
        assert here.remaining() == 0
        return {"slept": True}


def test_a_step_that_waits_breaks_off_when_the_operator_wants_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation(plan(use(monkeypatch, Sleeper)))
    simulation.stop.at = 5

    assert isinstance(simulation.run(), Interrupted)
    assert simulation.clock.now == 5
    assert simulation.kinds()[1:] == ["apply-started odd", "run-stopped"]

    simulation.stop.at = 1000
    assert simulation.run() == WELL
    assert len(simulation.events(e.ApplyStarted)) == 1


class LongLook(Step, frozen=True):
    """Takes ten seconds to see that all is well."""

    kind: ClassVar[str] = "long-look"

    def observe(self, here: Here) -> Observation:
        if here.step == "odd" and here.attempt == 0:
            return NotInPlace()
        here.sleep(10)
        return InPlace()

    def apply(self, here: Here) -> Evidence:
        return {}


@pytest.mark.parametrize("stop_at", [5, 15])
def test_a_wish_to_stop_during_a_long_look_is_no_finding(monkeypatch: pytest.MonkeyPatch, stop_at: float) -> None:
    """Safety rule 3. The step is not unseen, nor the service not well: nobody has finished looking."""
    monkeypatch.setattr(Healthy, "observe", LongLook.observe)
    simulation = Simulation(plan(use(monkeypatch, LongLook)))
    simulation.stop.at = stop_at
    assert isinstance(simulation.run(), Interrupted)
    assert not simulation.events(e.StepUnseen)
    assert not simulation.events(e.HealthObserved)

    simulation.stop.at = 1000
    assert simulation.run() == WELL


def test_a_step_never_waits_longer_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safety rule 15."""
    simulation = Simulation(plan(msgspec.structs.replace(use(monkeypatch, Sleeper), timeout=Duration(7.5))))
    assert simulation.run() == WELL
    assert simulation.only(e.StepDone).evidence == {"waited": 7.5}


def test_a_run_that_was_stopped_at_a_question_still_asks_it() -> None:
    simulation = Simulation(plan(step("a", confirm="Sure?")), policy={"confirm": [None]})
    simulation.run()
    simulation.stop.at = 0
    assert isinstance(simulation.run(), Interrupted)
    simulation.stop.at = 1000
    assert isinstance(simulation.run(), Waiting)


# The end


def test_a_run_whose_last_checkpoint_cannot_be_written_has_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is durable; to call it unfinished would send the operator to a resume that is refused."""

    def refuse(*_: object) -> None:
        raise JournalUnwritable("no room")

    monkeypatch.setattr(MemoryJournal, "checkpoint", refuse)
    simulation = Simulation(plan(step("a")))
    assert simulation.run() == WELL
    assert [text for _, text in simulation.watcher.said if "no room" in text]


# The watcher


def test_the_watcher_sees_every_entry_once_and_only_when_it_is_durable() -> None:
    simulation = Simulation(plan(step("a"), (step("b"), step("c"))))
    seen = []
    simulation.watcher.recorded = lambda entries: seen.append((entries, len(simulation.disk.lines)))  # type: ignore[method-assign]
    simulation.run()

    assert [entry.seq for entries, _ in seen for entry in entries] == list(range(len(simulation.disk.lines)))
    assert all(entries[-1].seq < durable for entries, durable in seen)


def test_what_belongs_together_goes_out_in_one_write() -> None:
    """The end of one step and the beginning of the next; syncs are what a run costs."""
    simulation = Simulation(plan(step("a", targets=()), step("b", targets=()), steady_state=None))
    simulation.run()
    writes = [name for name in simulation.points() if name.startswith("after entry")]
    assert len(writes) == 4  # the start; a's intent; a's end and b's intent; b's end and the run's
