"""What the engine asks, hides, verifies and limits: safety rules 12 to 15 (`dr/core/__init__.py`).

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
from dr.core.evidence import LARGEST
from dr.core.runbook import Retry
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Step, Unknown
from dr.core.timestamp import iso
from dr.engine import LONGEST_TEXT, Interrupted, Waiting
from dr.secrets import MASK, Secrets
from dr.world import Answer
from tests.simulated import process
from tests.simulated.clock import EPOCH
from tests.simulated.odd import WELL, use
from tests.simulated.plans import ONCE, THRICE, plan, step
from tests.simulated.process import Simulation
from tests.simulated.site import Script, Site

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
        (NotInPlace({"rows": "x" * (LARGEST + 1)}), "the evidence is too large to be recorded: 65,"),
        (InPlace({"rows": "x" * (LARGEST + 1)}), "the evidence is too large to be recorded: 65,"),
        (NotInPlace({"rows": object()}), "a value of type object is no JSON"),
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
