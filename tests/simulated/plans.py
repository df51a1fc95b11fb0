"""Plans for the simulated world, in few words."""

from typing import Any

from dr.core.duration import Duration
from dr.core.plan import STEADY_STATE, Plan, PlannedStep
from dr.core.runbook import Retry

THRICE = Retry(attempts=3, strategy="fixed", wait=Duration(1), max=Duration(10), jitter=Duration(0))
ONCE = Retry(attempts=1, wait=Duration(1), jitter=Duration(0))
HEALTH = PlannedStep(id=STEADY_STATE, kind="health", summary="the service is well", targets=("site",))


def step(name: str, **changes: Any) -> PlannedStep:
    """A step that turns `name` on and can be undone."""
    given: dict[str, Any] = {
        "kind": "switch",
        "summary": f"turn {name} on",
        "reversal": "undo",
        "targets": ("site",),
        "retry": THRICE,
    }
    return PlannedStep(id=name, **{**given, **changes})


def plan(*stages: PlannedStep | tuple[PlannedStep, ...], steady_state: PlannedStep | None = HEALTH) -> Plan:
    """Each argument is a stage: one step, or several side by side."""
    return Plan(
        runbook="simulated",
        title="Simulated",
        environment="drill",
        mode="graceful",
        stages=tuple(stage if isinstance(stage, tuple) else (stage,) for stage in stages),
        steady_state=steady_state,
    )
