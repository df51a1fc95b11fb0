"""Runs for tests of reports: a plan, events at given seconds, and a real journal that holds them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dr.audit.book import LocalBook
from dr.audit.journal import Draft
from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.core.duration import Duration
from dr.core.plan import STEADY_STATE, Plan, PlannedStep, digest, encode_plan
from dr.core.runbook import Objectives
from dr.core.timestamp import iso

RUN = "20230515T140000Z-database-overload-3fa9c1"
START = 1684159200.0  # 2023-05-15T14:00:00Z

Happened = tuple[float, e.Event]
"""Seconds after `START`, and what."""


def step(name: str, **given: Any) -> PlannedStep:
    return PlannedStep(**{"id": name, "kind": "feature.disable", "summary": f"do {name}", "reversal": "undo", **given})


HEALTH = PlannedStep(id=STEADY_STATE, kind="health.verify", summary="2 checks hold for 5s", targets=("shop",))


def plan(*stages: PlannedStep | tuple[PlannedStep, ...], **given: Any) -> Plan:
    return Plan(
        **{
            "runbook": "database-overload",
            "title": "A feature floods the primary database",
            "environment": "demo",
            "mode": "graceful",
            "stages": tuple(stage if isinstance(stage, tuple) else (stage,) for stage in stages),
            "objectives": Objectives(rto=Duration(300)),
            "steady_state": HEALTH,
            **given,
        }
    )


def started(plan: Plan, **given: Any) -> e.RunStarted:
    return e.RunStarted(
        **{
            "plan": digest(encode_plan(plan)),
            "runbook": plan.runbook,
            "environment": plan.environment,
            "mode": plan.mode,
            "reason": "users cannot check out",
            "host": "ops-1",
            "version": "0.1.0",
            "detected": at(-2),
            **given,
        }
    )


def at(seconds: float) -> str:
    """The time as entries write it."""
    return iso(START + seconds)


def record(directory: Path, plan: Plan, happened: Iterable[Happened], *, actor: str = "ada") -> StoredRun:
    """The run in a journal of its own."""
    book = LocalBook(directory)
    journal = book.create(RUN, encode_plan(plan), "pid 1 on ops-1")
    drafts = [Draft(at(seconds), actor, event) for seconds, event in happened]
    journal.append(drafts)
    journal.checkpoint(drafts[-1].at, actor)
    journal.close()
    return book.find(RUN)


def entries(happened: Iterable[Happened]) -> list[e.Entry]:
    """The entries without a journal, for pure folds."""
    return [
        e.Entry(prev=e.GENESIS, seq=number, run=RUN, at=at(seconds), actor="ada", event=event)
        for number, (seconds, event) in enumerate(happened)
    ]


OVERLOAD = plan(
    step("disable-feature", title="Stop the flood at its source", targets=("flags",)),
    step("is-that-enough", kind="health.verify", reversal="nothing-to-undo", on_failure="continue", targets=("shop",)),
    step("end-queries", kind="queries.terminate", reversal="nothing-to-undo", targets=("primary",)),
    step("shift-reads", kind="reads.shift", targets=("reads",)),
)


def recovered() -> list[Happened]:
    """A recovery with a retry in it: 14.5 seconds from detection until the steady state had held."""
    return [
        (0.0, started(OVERLOAD)),
        (0.1, e.ApplyStarted(step="disable-feature", attempt=1, before={"enabled": True, "variant": "on"})),
        (0.2, e.ApplyReturned(step="disable-feature", attempt=1, claim={"written": True})),
        (0.25, e.StepDone(step="disable-feature", attempt=1, evidence={"before": "ENABLED", "after": "DISABLED"})),
        (2.25, e.AttemptFailed(step="is-that-enough", attempt=1, error="shop /: 503, expected 200")),
        (2.25, e.StepSkipped(step="is-that-enough", comment="on_failure is continue; it failed: shop /: 503")),
        (2.5, e.ApplyStarted(step="end-queries", attempt=1, before={"matching": 42})),
        (3.0, e.AttemptFailed(step="end-queries", attempt=1, error="connection refused", not_before=at(3.5))),
        (3.75, e.ApplyStarted(step="end-queries", attempt=2, before={"matching": 17})),
        (4.0, e.ApplyReturned(step="end-queries", attempt=2, claim={"terminated": 17})),
        (5.0, e.StepDone(step="end-queries", attempt=2, evidence={"left": 0, "gone_for": "1s"})),
        (5.25, e.ApplyStarted(step="shift-reads", attempt=1, before={"standby": 0})),
        (7.0, e.StepDone(step="shift-reads", attempt=1, evidence={"standby": 100, "lag": 0.013})),
        (12.5, e.HealthObserved(well=True, evidence={"checks": 2, "held": "5s"})),
        (12.5, e.RunEnded(finish="completed", service="well")),
    ]
