"""`dr` recovers the shop; and where it is wanted, is killed in the middle and goes on."""

import time
from pathlib import Path
from textwrap import shorten

from dr.core import events as e
from dr.core.plan import STEADY_STATE, Plan
from dr.core.timestamp import iso, parse_iso
from dr.demo import timeline
from dr.demo.orchestrator import ENVIRONMENT, STANDS, Orchestrator
from dr.demo.screen import Screen
from dr.errors import Deviated, UsageError
from dr.report.words import sentence
from dr.steps import CATALOGUE

RUNBOOK = Path("runbooks", "database-overload.yaml")
MOST_WORDS = 160  # characters of an entry that are shown; the journal has all of it


def check_step(plan: Plan, step: str | None) -> None:
    """Raise UsageError if there is no such step to kill `dr` in."""
    names = [*(planned.id for planned in plan.steps()), STEADY_STATE]
    if step is not None and step not in names:
        raise UsageError(
            f"the runbook has no step {step!r}", stands="nothing was started", hint=f"--kill takes {', '.join(names)}"
        )


def recover(
    orchestrator: Orchestrator, screen: Screen, plan: Plan, runbook: Path, *, kill: str | None, detected: float
) -> None:
    """Carry out the runbook. Raises Deviated if it does not end in a recovery."""
    screen.command(f"dr run {RUNBOOK} --env {ENVIRONMENT} --yes")
    given = ("--env", ENVIRONMENT, "--yes", "--reason", "the monitoring's alarm", "--detected", iso(detected))
    run = orchestrator.start("run", str(runbook), *given)
    killed = False
    for entry in run:
        show(screen, plan, entry)
        if kill is not None and not killed and comes_into(plan, kill, entry.event):
            run.kill()
            killed = True
    if killed:
        screen.step(time.time(), f"SIGKILL: the process {run.pid} is gone, in the middle of {kill}", "bold red")
        screen.command("dr resume latest")
        run = orchestrator.start("resume", "latest")
        for entry in run:
            show(screen, plan, entry)
    run.check()
    if kill is not None and not killed:
        raise Deviated(f"the run never came into {kill}, so dr was not killed", stands=STANDS)


def comes_into(plan: Plan, step: str, event: e.Event) -> bool:
    """Whether a run comes into a step by this event.

    That is the intent to apply it; for a step that only looks, and writes no intent, it is the end of the step before.
    """
    kinds = {planned.id: planned.kind for planned in plan.steps()}
    if step in kinds and CATALOGUE[kinds[step]].acts:
        return isinstance(event, e.ApplyStarted) and event.step == step
    names = [*kinds, STEADY_STATE]
    match event:
        case e.StepDone(step=ended) | e.StepSkipped(step=ended):
            return names.index(ended) + 1 == names.index(step)
        case _:
            return isinstance(event, e.RunStarted) and step == names[0]


def show(screen: Screen, plan: Plan, entry: e.Entry) -> None:
    """A line for an entry of the run."""
    at = parse_iso(entry.at)
    kinds = {planned.id: planned.kind for planned in plan.steps()}
    words = shorten(sentence(entry.event), MOST_WORDS, placeholder=" …")
    match entry.event:
        case e.ApplyReturned(step=step, claim={"told_to_end": sessions}):
            screen.step(at, f"{step}: {sessions} sessions were told to end")
        case e.ApplyReturned():
            pass  # a claim; what was seen of it follows
        case e.StepDone(step=step):
            screen.step(at, words, "green")
            if kinds[step] in timeline.DONE:
                screen.mark(timeline.DONE[kinds[step]], at)
        case e.HealthObserved(well=True, evidence=evidence):
            screen.step(at, f"the steady state held for {evidence['held']} s", "bold green")
            screen.mark(timeline.RECOVERED, at)
        case e.StepSkipped(step=step):
            screen.step(at, f"{step}: no. {screen.affected_since(timeline.DONE[timeline.DISABLE])}", "yellow")
        case e.AttemptFailed() | e.RunResumed():
            screen.step(at, words, "yellow")
        case _:
            screen.step(at, words)
