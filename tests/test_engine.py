"""The engine in a simulated world: claims about its behaviour, and the safety rules it keeps (`dr/core/__init__.py`).

Each simulation is refereed: every call on the store is judged by the durable entries alone (`tests/simulated/`).
"""

import contextlib
from collections.abc import Iterator
from typing import ClassVar

import msgspec
import pytest

from dr.core import events as e
from dr.core import state as s
from dr.core.duration import Duration
from dr.core.plan import PlannedStep
from dr.core.runbook import Retry
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, OutOfTime, Step, Unknown
from dr.core.timestamp import iso, parse_iso
from dr.engine import GRACE, LARGEST_EVIDENCE, LONGEST_TEXT, Interrupted, Waiting
from dr.errors import JournalUnwritable
from dr.secrets import MASK, Secrets
from dr.world import Answer
from tests.simulated import process
from tests.simulated.clock import EPOCH
from tests.simulated.journal import MemoryJournal
from tests.simulated.plans import ONCE, THRICE, plan, step
from tests.simulated.process import Simulation
from tests.simulated.site import LATE, Script, Site

WELL = s.Ended("completed", "well")


def use(monkeypatch: pytest.MonkeyPatch, kind: type[Step]) -> PlannedStep:
    """A step of a kind that only this test knows."""
    monkeypatch.setattr(process, "make_step", lambda planned: Healthy() if planned.kind == "health" else kind())
    return step("odd", kind=kind.kind)


class Healthy(Step, frozen=True):
    kind: ClassVar[str] = "healthy"

    def observe(self, here: Here) -> Observation:
        return InPlace()


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


# Rule 12: pause, and say what stands


def test_the_default_on_failure_is_to_pause_and_say_what_stands() -> None:
    """Safety rule 12."""
    simulation = Simulation(plan(step("a"), step("b")), {"b": Script(apply=["refuses"])}, {"failed": [None]})

    result = simulation.run()
    assert isinstance(result, Waiting)
    assert result.question == e.Question(
        about="failed", step="b", text="b failed: the site refuses", choices=("retry", "skip", "rollback", "abort")
    )
    assert simulation.disk.checkpoints[-1].size == len(simulation.disk.lines)


def test_an_answer_is_an_entry_of_the_one_who_gave_it() -> None:
    """Safety rule 12."""
    simulation = Simulation(plan(step("a")), {"a": Script(apply=["refuses"])}, {"failed": ["skip"]})

    simulation.run()
    at = simulation.disk.events.index(e.OperatorAnswered(choice="skip", comment="as the policy says"))
    assert simulation.disk.actors[at] == process.ACTOR


def test_an_answer_that_was_not_offered_changes_nothing() -> None:
    """Safety rule 12: an explicit request is no way round a check."""
    stages = plan(step("a", reversal="impossible"), step("b"))
    simulation = Simulation(stages, {"b": Script(apply=["refuses"])})
    engine = simulation.engine()
    simulation.operator.ask = lambda _: Answer("rollback")  # type: ignore[method-assign, assignment]

    with pytest.raises(s.IllegalEvent, match="operator-answered cannot follow: the run is paused on b"):
        engine.run()
    assert simulation.kinds()[-1] == "paused"
    assert engine.state == simulation.fold()


# Rule 13: no secret in an entry


SECRET = "tr0ub4dor&3"


@contextlib.contextmanager
def talkative(monkeypatch: pytest.MonkeyPatch, text: str) -> Iterator[Simulation]:
    """A run with a step that puts `text` wherever a step can put one."""

    class Talkative(Step, frozen=True):
        kind: ClassVar[str] = "talkative"

        def observe(self, here: Here) -> Observation:
            here.say(text)
            return NotInPlace({text: [{"nested": f"a {text} b"}]}) if here.attempt == 0 else Unknown(text)

        def apply(self, here: Here) -> Evidence:
            raise RuntimeError(text)

    secrets = Secrets()
    secrets.remember(SECRET)
    simulation = Simulation(plan(msgspec.structs.replace(use(monkeypatch, Talkative), retry=ONCE)))
    simulation.mask = secrets.mask
    simulation.operator._policy = {"in-doubt": [None]}
    yield simulation


def test_no_secret_reaches_an_entry_a_question_or_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safety rule 13."""
    with talkative(monkeypatch, f"password={SECRET}") as simulation:
        result = simulation.run()

    assert isinstance(result, Waiting)
    assert MASK in result.question.text
    assert simulation.only(e.ApplyStarted).before == {f"password={MASK}": [{"nested": f"a password={MASK} b"}]}
    shown = [b"".join(simulation.disk.lines).decode(), repr(simulation.watcher.entries), repr(simulation.watcher.said)]
    for text in shown:
        assert SECRET not in text
        assert MASK in text


def test_the_first_half_of_a_secret_is_not_shown_where_a_long_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safety rules 13 and 15."""
    with talkative(monkeypatch, "x" * (LONGEST_TEXT - 6) + SECRET) as simulation:
        simulation.run()
    lines = b"".join(simulation.disk.lines).decode()
    assert SECRET[:4] not in lines


def test_a_secret_that_is_also_the_name_of_a_step_breaks_nothing() -> None:
    """Names are the runbook's, not what somebody said; masking them would make entries that cannot be read again."""
    secrets = Secrets()
    for word in ("apply", "attempt", "step-a", "rollback", "completed", "on", "1"):
        secrets.remember(word)
    simulation = Simulation(plan(step("step-a")))
    simulation.mask = secrets.mask

    assert simulation.run() == WELL
    assert "apply-started step-a" in simulation.kinds()


# Rule 14: verification is apart from execution


def test_a_run_is_not_over_before_the_steady_state_was_seen_to_hold() -> None:
    """Safety rule 14: done and not well is deviated, and only an operator's word ends the run so."""
    stages = plan(step("a"), step("b"))
    simulation = Simulation(
        stages, {"b": Script(apply=["refuses"])}, {"failed": ["skip"], "steady-state": ["retry", None]}
    )

    result = simulation.run()
    assert isinstance(result, Waiting)
    assert result.question.text == "the steady state does not hold: b is off"
    assert len(simulation.events(e.HealthObserved)) == 2

    simulation.operator._policy = {"steady-state": ["accept"]}
    assert simulation.run() == s.Ended("completed", "deviated")


@pytest.mark.parametrize("look", [Unknown("the probe is down"), {"well": True}])
def test_a_steady_state_that_cannot_be_seen_is_not_well(monkeypatch: pytest.MonkeyPatch, look: object) -> None:
    """Safety rules 3 and 14."""
    monkeypatch.setattr(Site, "health", lambda _: look)
    simulation = Simulation(plan(step("a")))

    assert simulation.run() == s.Ended("completed", "deviated")
    assert not any(event.well for event in simulation.events(e.HealthObserved))


def test_a_run_that_is_not_well_can_be_rolled_back() -> None:
    stages = plan(step("a"), step("b", on_failure="continue"))
    simulation = Simulation(stages, {"b": Script(apply=["lies"])}, {"steady-state": ["rollback"]})

    assert simulation.run() == s.Ended("rolled-back", "well")


# Rule 15: everything has a limit


def test_attempts_are_limited_and_one_more_is_given_for_each_retry_of_the_operator() -> None:
    """Safety rule 15."""
    simulation = Simulation(plan(step("a")), {"a": Script(apply=["refuses"])}, {"failed": ["retry", "retry", "abort"]})

    simulation.run()
    assert [event.attempt for event in simulation.events(e.ApplyStarted)] == [1, 2, 3, 4, 5]


def test_waits_between_attempts_are_recorded_and_kept() -> None:
    simulation = Simulation(plan(step("a", retry=THRICE), steady_state=None), {"a": Script(apply=["refuses", "works"])})

    simulation.run()
    assert simulation.only(e.AttemptFailed).not_before == iso(EPOCH + 1)
    assert 1 <= simulation.clock.now < 2


def test_a_wait_goes_on_after_a_crash_where_it_was() -> None:
    patient = Retry(attempts=2, strategy="fixed", wait=Duration(60), max=Duration(60), jitter=Duration(0))
    simulation = Simulation(
        plan(step("a", retry=patient), steady_state=None), {"a": Script(apply=["refuses", "works"])}
    )
    simulation.stop.at = 20
    assert isinstance(simulation.run(), Interrupted)

    simulation.clock.now = 50
    simulation.stop.at = 1000
    simulation.run()
    assert 60 <= simulation.clock.now < 62


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_wrong_never_delays_an_attempt_beyond_the_longest_wait(skew: float) -> None:
    """Safety rule 15. The machine that goes on has another clock than the one that failed."""
    patient = Retry(attempts=2, strategy="fixed", wait=Duration(30), max=Duration(30), jitter=Duration(0))
    simulation = Simulation(
        plan(step("a", retry=patient), steady_state=None), {"a": Script(apply=["refuses", "works"])}
    )
    simulation.stop.at = 5
    simulation.run()

    simulation.clock.skew = skew
    simulation.stop.at = 10_000
    assert simulation.run() == s.Ended("completed", "not-checked")
    assert simulation.clock.now <= 5 + 30 + 30 + 1


class Odd(Step, frozen=True):
    """Sees what the test says it sees."""

    kind: ClassVar[str] = "odd"
    sees: ClassVar[object] = None
    says: ClassVar[object] = None

    def observe(self, here: Here) -> Observation:
        seen = type(self).sees
        if isinstance(seen, Exception):
            raise seen
        return seen  # type: ignore[return-value]

    def apply(self, here: Here) -> Evidence:
        return type(self).says  # type: ignore[return-value]


@pytest.mark.parametrize(
    "seen, words",
    [
        (NotInPlace({"rows": "x" * (LARGEST_EVIDENCE + 1)}), "the evidence is too large to be recorded: 65,"),
        (NotInPlace({"rows": object()}), "object"),
        (NotInPlace({"file": "caf\udce9"}), "surrogates not allowed"),
        (OSError("caf\udce9: no such file"), "it could not be looked at: caf?: no such file"),
        (RuntimeError("x" * 10_000), "xxx…"),
        (RuntimeError(), "RuntimeError"),
        (Unknown("y" * 10_000), "yyy…"),
    ],
)
def test_what_does_not_fit_into_an_entry_fails_the_attempt_and_not_the_process(
    monkeypatch: pytest.MonkeyPatch, seen: object, words: str
) -> None:
    """Safety rule 15."""
    monkeypatch.setattr(Odd, "sees", seen)
    planned = msgspec.structs.replace(use(monkeypatch, Odd), retry=ONCE)
    simulation = Simulation(plan(planned), policy={"failed": [None]})

    result = simulation.run()
    assert isinstance(result, Waiting)
    assert words in simulation.only(e.AttemptFailed).error
    assert max(len(line) for line in simulation.disk.lines) < 4 * LONGEST_TEXT


def test_a_question_is_no_longer_than_a_text_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safety rule 15."""
    monkeypatch.setattr(Odd, "sees", RuntimeError("x" * 10_000))
    simulation = Simulation(plan(msgspec.structs.replace(use(monkeypatch, Odd), retry=ONCE)), policy={"failed": [None]})

    result = simulation.run()
    assert isinstance(result, Waiting)
    assert len(result.question.text) == LONGEST_TEXT


@pytest.mark.parametrize("said", [{}, None, ["a", "list"], {"far": "x" * 100_000}])
def test_a_claim_that_is_none_stands_in_no_ones_way(monkeypatch: pytest.MonkeyPatch, said: object) -> None:
    class Claims(Odd, frozen=True):
        kind: ClassVar[str] = "claims"

        def observe(self, here: Here) -> Observation:
            return NotInPlace() if here.attempt == 0 else InPlace()

    monkeypatch.setattr(Claims, "says", said)
    simulation = Simulation(plan(use(monkeypatch, Claims)))
    assert simulation.run() == WELL


@pytest.mark.parametrize(
    "evidence, words",
    [
        ({}, "it was applied and is not there: nothing was found"),
        ({"findings": ["/: 503", "/search: timeout"]}, "it was applied and is not there: /: 503; /search: timeout"),
        ({"lag": 3, "limit": 1}, "it was applied and is not there: lag: 3, limit: 1"),
    ],
)
def test_a_failure_says_what_was_found_instead(monkeypatch: pytest.MonkeyPatch, evidence: Evidence, words: str) -> None:
    monkeypatch.setattr(Odd, "sees", NotInPlace(evidence))
    monkeypatch.setattr(Odd, "says", {})
    simulation = Simulation(plan(msgspec.structs.replace(use(monkeypatch, Odd), retry=ONCE)), policy={"failed": [None]})
    simulation.run()
    assert simulation.only(e.AttemptFailed).error == words


def test_a_target_that_cannot_be_closed_leaves_doubt_and_no_hanging_run(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def open_badly(site: Site, *_: object) -> Iterator[Site]:
        yield site
        if len(site.calls) == 2:
            raise ConnectionError("closing failed")

    monkeypatch.setattr(Site, "open", open_badly)
    simulation = Simulation(plan(step("a")))
    assert simulation.run() == WELL
    assert simulation.only(e.ApplyReturned).error == "closing failed"


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
    simulation.watcher.entry = lambda entry: seen.append((entry.seq, len(simulation.disk.lines)))  # type: ignore[method-assign]
    simulation.run()

    assert [seq for seq, _ in seen] == list(range(len(simulation.disk.lines)))
    assert all(seq < durable for seq, durable in seen)


def test_what_belongs_together_goes_out_in_one_write() -> None:
    """The end of one step and the beginning of the next; syncs are what a run costs."""
    simulation = Simulation(plan(step("a", targets=()), step("b", targets=()), steady_state=None))
    simulation.run()
    writes = [name for name in simulation.points() if name.startswith("after entry")]
    assert len(writes) == 4  # the start; a's intent; a's end and b's intent; b's end and the run's


def test_times_are_written_in_utc_with_microseconds_and_read_back() -> None:
    assert iso(EPOCH) == "2023-05-15T14:00:00.000000Z"
    assert parse_iso(iso(EPOCH + 0.25)) == EPOCH + 0.25
