"""Steps of kinds that only one test knows."""

from typing import ClassVar

import pytest

from dr.core import state as s
from dr.core.plan import PlannedStep
from dr.core.step import Here, InPlace, Observation, Step
from tests.simulated import process
from tests.simulated.plans import step

WELL = s.Ended("completed", "well")


def use(monkeypatch: pytest.MonkeyPatch, kind: type[Step]) -> PlannedStep:
    """A step of a kind that only this test knows."""
    monkeypatch.setattr(process, "make_step", lambda planned: Healthy() if planned.kind == "health" else kind())
    return step("odd", kind=kind.kind)


class Healthy(Step, frozen=True):
    kind: ClassVar[str] = "healthy"

    def observe(self, here: Here) -> Observation:
        return InPlace()
