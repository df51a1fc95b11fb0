"""Judges every call on the store by the durable entries alone, in its own words and not by the code under test."""

from dr.core import events as e
from dr.core.plan import Plan, PlannedStep
from tests.simulated.journal import Disk


class Referee:
    def __init__(self, plan: Plan, disk: Disk) -> None:
        self._plan = plan
        self._disk = disk
        self._seen: set[tuple[str, str, int]] = set()
        self._unsettled: set[str] = set()
        """Steps in doubt when the present process began; the first call must be a look at one of them."""

    def process_begins(self) -> None:
        self._unsettled = {step.id for step in self._plan.steps() if self._is_in_doubt(step.id)}

    def look(self, step: str) -> None:
        self._first_call(step, is_look=True)

    def apply(self, step: str, attempt: int) -> None:
        self._first_call(step, is_look=False)
        mine = self._of(step)
        intent = mine[-1] if mine else None
        assert isinstance(intent, e.ApplyStarted), f"rule 1: {step} is applied without a durable intent"
        assert intent.attempt == attempt, f"rule 1: the durable intent is of attempt {intent.attempt}, not {attempt}"
        self._once("apply", step, attempt)
        assert not any(isinstance(event, e.StepDone) for event in mine), f"{step} is applied again although it is done"
        assert not self._rollback_begun(), f"{step} is applied in a rollback"
        for stage in self._plan.stages[: self._stage_of(step)]:
            for other in stage:
                assert self._is_settled(other.id), f"{step} is applied before {other.id} of an earlier stage is settled"
        if self._planned(step).confirm:
            assert "yes" in self._answers(step), f"{step} is applied unasked"
        assert not self._planned(step).skip, f"{step} is to be skipped in this run"

    def undo(self, step: str, attempt: int) -> None:
        self._first_call(step, is_look=False)
        assert self._rollback_begun(), f"{step} is undone without a rollback"
        mine = self._of(step)
        assert any(isinstance(event, e.ApplyStarted) for event in mine), f"rule 5: {step} was never applied"
        assert not any(isinstance(event, e.StepUndone) for event in mine), f"{step} is undone again"
        intent = mine[-1]
        assert isinstance(intent, e.UndoStarted), f"rule 1: {step} is undone without a durable intent"
        assert intent.attempt == attempt
        self._once("undo", step, attempt)
        applied = self._applied()
        for other in applied[applied.index(step) + 1 :]:
            if self._planned(other).reversal == "undo":
                assert self._is_back(other), f"rule 5: {step} is undone before {other}, which was applied after it"
        for other in applied:
            assert self._planned(other).reversal != "impossible", f"rule 6: undone past {other}"

    def run_ended(self) -> None:
        """The run says it is over: do its entries bear that out?"""
        last = self._disk.events[-1]
        assert isinstance(last, e.RunEnded)
        assert sum(isinstance(event, e.RunEnded) for event in self._disk.events) == 1
        health = [event for event in self._disk.events if isinstance(event, e.HealthObserved)]
        if last.service != "not-checked":
            assert health, "rule 14: nobody looked whether the service is well"
            assert health[-1].well == (last.service == "well"), "rule 14"
            after = self._disk.events[self._disk.events.index(health[-1]) :]
            assert not any(isinstance(event, e.ApplyStarted | e.UndoStarted) for event in after), (
                "rule 14: touched since"
            )
        if last.finish == "completed":
            assert all(self._is_settled(step.id) for step in self._plan.steps())
        if last.finish == "rolled-back":
            for step in self._applied():
                assert self._planned(step).reversal != "undo" or self._is_back(step), f"rule 5: {step} was left"

    def _first_call(self, step: str, *, is_look: bool) -> None:
        if self._unsettled:
            assert is_look, "the first thing a resumed run does is to look at what is in doubt"
            assert step in self._unsettled, f"{step} is looked at before {self._unsettled} is settled"
            self._unsettled = set()

    def _once(self, what: str, step: str, attempt: int) -> None:
        assert (what, step, attempt) not in self._seen, f"attempt {attempt} to {what} {step} is made twice"
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

    def _is_in_doubt(self, step: str) -> bool:
        last = self._history(step)[-1:]
        match last:
            case [e.ApplyStarted() | e.ApplyReturned() | e.UndoStarted() | e.UndoReturned()]:
                return True
            case [e.StepUnseen(not_before=not_before)]:
                return not_before is not None
            case _:
                return False

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
