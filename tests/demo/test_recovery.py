import pytest

from dr.bind import bind
from dr.core import events as e
from dr.core.plan import Plan
from dr.demo import incident, recovery
from dr.errors import UsageError
from dr.load import read


@pytest.fixture(scope="module")
def plan() -> Plan:
    return bind(read(incident.find_runbook()), None, {})


def test_a_step_that_acts_is_entered_by_its_intent_and_by_nothing_else(plan: Plan) -> None:
    assert recovery.comes_into(plan, "shift-reads", e.ApplyStarted(step="shift-reads", attempt=1))
    assert not recovery.comes_into(plan, "shift-reads", e.ApplyStarted(step="disable-feature", attempt=1))
    assert not recovery.comes_into(plan, "shift-reads", e.StepDone(step="end-runaway-queries", attempt=1))


def test_a_step_that_only_looks_is_entered_when_the_one_before_it_is_over(plan: Plan) -> None:
    assert recovery.comes_into(plan, "is-that-enough", e.StepDone(step="disable-feature", attempt=1))
    assert recovery.comes_into(plan, "steady-state", e.StepDone(step="shift-reads", attempt=1))
    assert recovery.comes_into(plan, "steady-state", e.StepSkipped(step="shift-reads", comment=""))
    assert not recovery.comes_into(plan, "steady-state", e.StepDone(step="disable-feature", attempt=1))


def test_a_step_that_is_not_in_the_runbook_cannot_be_killed_in(plan: Plan) -> None:
    with pytest.raises(UsageError) as refused:
        recovery.check_step(plan, "shift-read")
    assert "shift-reads, steady-state" in refused.value.hint
