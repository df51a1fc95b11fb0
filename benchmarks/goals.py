"""A measured figure beside its goal, as a line, as a table, as JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """A bound that the figure must keep."""

    sense: Literal["at most", "at least"]
    bound: float

    def met_by(self, figure: float) -> bool:
        return figure <= self.bound if self.sense == "at most" else figure >= self.bound


def at_most(bound: float) -> Goal:
    return Goal("at most", bound)


def at_least(bound: float) -> Goal:
    return Goal("at least", bound)


@dataclass(frozen=True)
class Row:
    """One result. `unit` is x for a ratio; `medians` holds what the figure was computed from; no goal: for context."""

    name: str
    figure: float
    unit: str
    goal: Goal | None = None
    medians: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return "-"
        return "pass" if self.goal.met_by(self.figure) else "FAIL"

    def line(self) -> str:
        goal = f"{self.goal.sense} {_number(self.goal.bound)} {self.unit}" if self.goal else "no goal"
        medians = ", ".join(f"{name} {_number(value)}" for name, value in self.medians.items())
        return f"{self.verdict:4}  {self.name:62}  {_number(self.figure):>9} {self.unit:9}  {goal:22}  {medians}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """All results below each other, then how many of the goals are met."""
    judged = [row for row in rows if row.goal]
    met = sum(row.verdict == "pass" for row in judged)
    return "\n".join([*(row.line() for row in rows), f"{met} of {len(judged)} goals met"])


def write_json(rows: Sequence[Row], file: Path) -> None:
    """Keep the results for a machine to read: one object per row, times in seconds unless the name says otherwise."""
    machine = {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    results = [{**asdict(row), "verdict": row.verdict} for row in rows]
    file.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
