"""Judges every call on the store by the durable entries alone, in its own words and not by the code under test."""

from dr.core import events as e
from dr.core.plan import Plan, PlannedStep
from tests.simulated.journal import Disk

_CHANGES = e.ApplyStarted | e.ApplyReturned | e.UndoStarted | e.UndoReturned


class Foul(BaseException):
    """A rule was broken. Like a crash it is no `Exception`: the engine takes those for words of the target."""


def rule(kept: bool, what: str) -> None:
    if not kept:
        raise Foul(what)


class Referee:
    def __init__(self, plan: Plan, disk: Disk) -> None:
        self._plan = plan
        self._disk = disk
        self._seen: set[tuple[str, str, int]] = set()
        self._doubts: set[str] = set()
        """Steps that were in doubt when the present process began."""
        self._unseen: set[str] = set()
        """Those that nobody has looked at since they were changed."""

    def process_begins(self) -> None:
        steps = self._plan.steps()
        last = {step.id: self._history(step.id)[-1:] for step in steps if step.observable}
        self._unseen = {step for step, events in last.items() if any(isinstance(event, _CHANGES) for event in events)}
        looked_at = {step for step, events in last.items() if any(isinstance(event, e.StepUnseen) for event in events)}
        self._doubts = self._unseen | looked_at

    def look(self, step: str) -> None:
        self._first_call(step, is_look=True)

    def apply(self, step: str, attempt: int) -> None:
        self._first_call(step, is_look=False)
        mine = self._of(step)
        match mine:
            case [*_, e.ApplyStarted(attempt=intended)]:
                rule(intended == attempt, f"rule 1: the durable intent is of attempt {intended}, not {attempt}")
            case _:
                rule(kept=False, what=f"rule 1: {step} is applied without a durable intent")
        self._once("apply", step, attempt)
        rule(not any(isinstance(event, e.StepDone) for event in mine), f"{step} is applied again although it is done")
        rule(not self._rollback_begun(), f"{step} is applied in a rollback")
        for stage in self._plan.stages[: self._stage_of(step)]:
            for other in stage:
                rule(self._is_settled(other.id), f"{step} is applied before {other.id} of an earlier stage is settled")
        if self._planned(step).confirm:
            rule("yes" in self._answers(step), f"{step} is applied unasked")
        rule(not self._planned(step).skip, f"{step} is to be skipped in this run")

    def undo(self, step: str, attempt: int) -> None:
        self._first_call(step, is_look=False)
        rule(self._rollback_begun(), f"{step} is undone without a rollback")
        mine = self._of(step)
        rule(any(isinstance(event, e.ApplyStarted) for event in mine), f"rule 5: {step} was never applied")
        rule(not any(isinstance(event, e.StepUndone) for event in mine), f"{step} is undone again")
        match mine:
            case [*_, e.UndoStarted(attempt=intended)]:
                rule(intended == attempt, f"rule 1: the durable intent is of attempt {intended}, not {attempt}")
            case _:
                rule(kept=False, what=f"rule 1: {step} is undone without a durable intent")
        self._once("undo", step, attempt)
        applied = self._applied()
        for other in applied[applied.index(step) + 1 :]:
            if self._planned(other).reversal == "undo":
                rule(self._is_back(other), f"rule 5: {step} is undone before {other}, which was applied after it")
        for other in applied:
            rule(self._planned(other).reversal != "impossible", f"rule 6: undone past {other}")

    def run_ended(self) -> None:
        """The run says it is over: do its entries bear that out?"""
        events = self._disk.events
        last = events[-1]
        assert isinstance(last, e.RunEnded)
        assert last not in events[:-1]
        health = [at for at, event in enumerate(events) if isinstance(event, e.HealthObserved)]
        if last.service != "not-checked":
            seen = events[health[-1]]
            assert isinstance(seen, e.HealthObserved)
            rule(seen.well == (last.service == "well"), "rule 14: the service is said to be what it was not seen to be")
            touched = any(isinstance(event, e.ApplyStarted | e.UndoStarted) for event in events[health[-1] :])
            rule(not touched, "rule 14: something was touched after the last look at the steady state")
        if last.finish == "completed":
            rule(all(self._is_settled(step.id) for step in self._plan.steps()), "completed with steps left")
        if last.finish == "rolled-back":
            for step in self._applied():
                rule(self._planned(step).reversal != "undo" or self._is_back(step), f"rule 5: {step} was left")

    def _first_call(self, step: str, *, is_look: bool) -> None:
        if self._unseen:
            rule(is_look, "the first thing a resumed run does is to look at what is in doubt")
            rule(step in self._doubts, f"{step} is looked at before {self._unseen}, which is in doubt")
            self._unseen.discard(step)

    def _once(self, what: str, step: str, attempt: int) -> None:
        rule((what, step, attempt) not in self._seen, f"attempt {attempt} to {what} {step} is made twice")
        self._seen.add((what, step, attempt))

    def _of(self, step: str) -> list[e.Event]:
        return [event for event in self._disk.events if getattr(event, "step", None) == step]

    def _history(self, step: str) -> list[e.Event]:
        """What happened to the step, the operator's answers about it among it."""
        found: list[e.Event] = []
        asked = ""
        for event in self._disk.events:
            if isinstance(event, e.Paused):
                asked = event.question.step
            about = asked if isinstance(event, e.OperatorAnswered) else getattr(event, "step", None)
            if about == step:
                found.append(event)
        return found

    def _is_settled(self, step: str) -> bool:
        return any(_settles(event) for event in self._history(step))

    def _is_back(self, step: str) -> bool:
        history = self._history(step)
        begun = next(at for at, event in enumerate(history) if isinstance(event, e.UndoStarted))
        return any(_settles(event) for event in history[begun:])

    def _answers(self, step: str) -> list[str]:
        return [event.choice for event in self._history(step) if isinstance(event, e.OperatorAnswered)]

    def _rollback_begun(self) -> bool:
        return any(
            isinstance(event, e.RollbackStarted)
            or (isinstance(event, e.OperatorAnswered) and event.choice == "rollback")
            for event in self._disk.events
        )

    def _applied(self) -> list[str]:
        """Steps in the order of their first intent."""
        return list(dict.fromkeys(event.step for event in self._disk.events if isinstance(event, e.ApplyStarted)))

    def _planned(self, step: str) -> PlannedStep:
        return next(item for item in self._plan.steps() if item.id == step)

    def _stage_of(self, step: str) -> int:
        return next(at for at, stage in enumerate(self._plan.stages) if step in {item.id for item in stage})


def _settles(event: e.Event) -> bool:
    """Whether it ends the matter, by an observation or by a ruling."""
    if isinstance(event, e.OperatorAnswered):
        return event.choice in {"skip", "done"}
    return isinstance(event, e.StepDone | e.StepSkipped | e.StepUndone)
