"""Random walks: any plan, any faults, any answers, any crashes and stops. They end, and the referee finds nothing."""

import math
from collections.abc import Sequence

import msgspec
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from dr.core import events as e
from dr.core import state as s
from dr.core.duration import Duration
from dr.core.plan import Plan, PlannedStep
from dr.core.runbook import Retry
from dr.engine import Interrupted
from tests.simulated.plans import HEALTH, plan, step
from tests.simulated.process import Operator, Simulation
from tests.simulated.site import Act, Look, Script

LAST_WORDS: tuple[e.Choice, ...] = ("accept", "abort")
"""What ends every question, sooner or later."""


class Anyone(Operator):
    """Answers anything that is offered, by chance, and comes to an end."""

    def __init__(self, simulation: Simulation, chances: Sequence[int]) -> None:
        super().__init__(simulation.site, {})
        self._chances = list(chances)

    def _choice(self, question: e.Question) -> e.Choice:
        if self._chances:
            return question.choices[self._chances.pop() % len(question.choices)]
        return next(word for word in LAST_WORDS if word in question.choices)


ACTS: st.SearchStrategy[list[Act]] = st.lists(
    st.sampled_from(["works", "works", "refuses", "breaks-off", "lies", "comes-late", "hangs"]), min_size=1, max_size=3
)
LOOKS: st.SearchStrategy[list[Look]] = st.lists(
    st.sampled_from(["sees", "sees", "blind", "raises"]), min_size=1, max_size=4
)


@st.composite
def planned_steps(draw: st.DrawFn, name: str) -> PlannedStep:
    kind = draw(st.sampled_from(["switch", "switch", "switch", "blind-switch", "watch"]))
    retry = Retry(
        attempts=draw(st.integers(1, 3)),
        strategy=draw(st.sampled_from(["fixed", "exponential"])),
        wait=Duration(draw(st.sampled_from([0.0, 1.0, 15.0]))),
        jitter=Duration(draw(st.sampled_from([0.0, 3.0]))),
    )
    return step(
        name,
        kind=kind,
        observable=kind != "blind-switch",
        reversal=draw(st.sampled_from(["undo", "impossible", "nothing-to-undo"]))
        if kind == "switch"
        else "nothing-to-undo",
        on_failure=draw(st.sampled_from(["pause", "rollback", "continue"])),
        confirm=draw(st.sampled_from(["", "", "Sure?"])),
        skip=draw(st.sampled_from(["", "", "", "ungraceful"])),
        targets=draw(st.sampled_from([("site",), ("site",), ()])),
        timeout=Duration(draw(st.sampled_from([5.0, 50.0]))),
        retry=retry,
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    names = iter("abcdefghi")
    stages = [tuple(draw(planned_steps(next(names))) for _ in range(size)) for size in sizes]
    return plan(*stages, steady_state=draw(st.sampled_from([HEALTH, HEALTH, None])))


SCRIPTS = st.builds(
    Script,
    apply=ACTS,
    undo=ACTS,
    look=LOOKS,
    took=st.sampled_from([0.0, 0.1, 4.0, 30.0]),
    already=st.sampled_from([False, False, False, True]),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_every_run_comes_to_an_end_and_keeps_the_rules(data: st.DataObject) -> None:
    """Safety rules 1 to 6, 12, 14 and 15."""
    any_plan = data.draw(plans())
    scripts = {item.id: data.draw(SCRIPTS) for item in any_plan.steps()}
    simulation = Simulation(any_plan, scripts)
    simulation.operator = Anyone(simulation, data.draw(st.lists(st.integers(0, 5), max_size=12)))
    simulation.side_by_side = data.draw(st.booleans())
    simulation.stop.at = data.draw(st.sampled_from([math.inf, 1.0, 8.0, 40.0]))

    result = simulation.run(*data.draw(st.lists(st.integers(0, 60), max_size=4)))
    if isinstance(result, Interrupted):
        event("stopped on the way")
        simulation.stop.at = math.inf
        result = simulation.run(*data.draw(st.lists(st.integers(0, 60), max_size=2)))
    assert isinstance(result, s.Ended)
    event(f"{result.finish}, {result.service}")
    limit = max(item.retry.attempts for item in any_plan.steps()) + len(simulation.events(e.OperatorAnswered))
    assert all(started.attempt <= limit for started in simulation.events(e.ApplyStarted))


@settings(max_examples=100)
@given(plans(), st.lists(st.integers(0, 80), max_size=3))
def test_without_faults_every_plan_completes_however_often_it_is_killed(any_plan: Plan, crashes: list[int]) -> None:
    """Safety rule 1. Effects, and what is skipped, are those of a run that nobody killed."""
    patient = [
        tuple(msgspec.structs.replace(item, kind="switch", observable=True, retry=Retry(attempts=9)) for item in stage)
        for stage in any_plan.stages
    ]
    simulation = Simulation(plan(*patient))
    simulation.run(*crashes)

    state, effects = simulation.outcome()
    assert isinstance(state, s.Ended)
    assert state.finish == "completed"
    assert effects == {item.id: "off" if item.skip else "on" for item in any_plan.steps()}
