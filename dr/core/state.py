"""Where a run stands: a fold over its entries.

    NotStarted --run-started--> Running --last step finished--> Verifying --well--> Closing --run-ended--> Ended
                                  |  ^                              |
                          paused  v  | answered            deviated v
                                 Paused <---------------------- Deviating
                                  | answered `rollback`             | (answered `accept`: Closing)
                                  v                                 |
                              RollingBack <-------------------------+
                                  | nothing left to undo
                                  +--------> Verifying

One class per situation, each holding only what exists there. `evolve` is pure; an event that is not legal where the run
stands raises `IllegalEvent` and changes nothing, which is also how verification finds an entry that was made up.
"""

from typing import assert_never

import msgspec

from dr.core import events as e
from dr.core.plan import Plan, PlannedStep
from dr.core.step import Evidence


class IllegalEvent(Exception):
    """The event cannot follow where the run stands."""

    def __init__(self, state: "State", event: e.Event) -> None:
        step = getattr(event, "step", "")
        what = type(event).__struct_config__.tag
        super().__init__(f"{what}{f' of {step}' if step else ''} cannot follow: the run is {describe(state)}")


# A step of the current stage stands in one of these.


class Unconfirmed(msgspec.Struct, frozen=True):
    """Waits for the operator's yes."""


class Ready(msgspec.Struct, frozen=True):
    """Attempt number `attempt` may begin, at `not_before` at the earliest."""

    attempt: int
    not_before: str | None = None


class InDoubt(msgspec.Struct, frozen=True):
    """The intent is recorded, an observation is not: the effect may or may not have happened."""

    attempt: int
    looks: int = 0
    """How often it was looked at in vain."""
    not_before: str | None = None


class Doubted(msgspec.Struct, frozen=True):
    """In doubt, and it cannot be seen: the operator has to rule."""

    attempt: int
    why: str


class Failed(msgspec.Struct, frozen=True):
    """No attempt is left."""

    attempt: int
    error: str


class Finished(msgspec.Struct, frozen=True):
    """Done or skipped."""


Standing = Unconfirmed | Ready | InDoubt | Doubted | Failed | Finished


class Applied(msgspec.Struct, frozen=True):
    """A step that was, or may have been, applied and would have to be undone, and what stood before it."""

    step: str
    before: Evidence


# The run stands in one of these.


class NotStarted(msgspec.Struct, frozen=True):
    """There is no entry yet."""


class Running(msgspec.Struct, frozen=True):
    """Stage number `stage` is being worked on; `steps` stand as the plan orders them."""

    stage: int
    steps: tuple[Standing, ...]
    applied: tuple[Applied, ...] = ()


class RollingBack(msgspec.Struct, frozen=True):
    """The last of `left` is being undone; `undo` says how that stands (never Unconfirmed or Finished)."""

    left: tuple[Applied, ...]
    undo: Ready | InDoubt | Failed


class Verifying(msgspec.Struct, frozen=True):
    """The steady state is to be observed."""

    finish: e.Finish
    applied: tuple[Applied, ...] = ()


class Deviating(msgspec.Struct, frozen=True):
    """The steady state was observed and does not hold."""

    finish: e.Finish
    applied: tuple[Applied, ...]
    evidence: Evidence


class Closing(msgspec.Struct, frozen=True):
    """Everything is done; only `run-ended` is still to be recorded."""

    finish: e.Finish
    service: e.Service


class Paused(msgspec.Struct, frozen=True):
    """A question to the operator is open; `then` is where the run stood when it was asked."""

    question: e.Question
    then: Running | RollingBack | Deviating


class Ended(msgspec.Struct, frozen=True):
    finish: e.Finish
    service: e.Service


State = NotStarted | Running | RollingBack | Verifying | Deviating | Closing | Paused | Ended


def evolve(plan: Plan, state: State, event: e.Event) -> State:
    """Where the run stands after `event`.

    Raises:
        IllegalEvent: the event cannot follow.
    """
    match state:
        case NotStarted():
            if not isinstance(event, e.RunStarted):
                raise IllegalEvent(state, event)
            return _enter(plan, 0, ())
        case Running():
            return _while_running(plan, state, event)
        case RollingBack():
            return _while_rolling_back(plan, state, event)
        case Verifying() | Deviating() | Closing():
            return _while_finishing(plan, state, event)
        case Paused():
            return _while_paused(plan, state, event)
        case Ended():
            raise IllegalEvent(state, event)
        case _:
            assert_never(state)


def rollback_refused(plan: Plan, applied: tuple[Applied, ...]) -> PlannedStep | None:
    """The step past which nothing is undone (safety rule 6): one that may have been applied and cannot be undone."""
    names = {item.step for item in applied}
    return next((step for step in plan.steps() if step.reversal == "impossible" and step.id in names), None)


def describe(state: State) -> str:
    """The situation in words."""
    match state:
        case NotStarted():
            return "not started"
        case Running(stage=stage):
            return f"running stage {stage + 1}"
        case RollingBack():
            return "rolling back"
        case Verifying() | Deviating():
            return "verifying the steady state"
        case Closing():
            return "about to end"
        case Paused(question=question):
            return f"paused on {question.step}"
        case Ended(finish=finish, service=service):
            return f"ended ({finish}, service {service})"
        case _:
            assert_never(state)


def _unmoved(state: State, event: e.Event) -> State:
    """The same state for an event that only records; anything else is illegal here."""
    if isinstance(event, e.RunResumed | e.RunStopped | e.CopyLate | e.HomeLeft | e.TakenOver | e.CopyTrusted):
        return state
    raise IllegalEvent(state, event)


def _while_running(plan: Plan, state: Running, event: e.Event) -> State:
    match event:
        case e.Paused(question=question):
            stood = state.steps[_position(plan, state, event, question.step)]
            if not isinstance(stood, Unconfirmed | Doubted | Failed):
                raise IllegalEvent(state, event)
            return Paused(question, state)
        case e.RollbackStarted():
            return _roll_back(plan, state, event, state.applied)
        case (
            e.ApplyStarted(step=step)
            | e.StepDone(step=step)
            | e.ApplyReturned(step=step)
            | e.StepUnseen(step=step)
            | e.AttemptFailed(step=step)
            | e.StepSkipped(step=step)
        ):
            return _move_step(plan, state, _position(plan, state, event, step), event)
        case _:
            return _unmoved(state, event)


def _move_step(plan: Plan, state: Running, at: int, event: e.Event) -> State:
    """What happened to one step of the stage, and where that step stood: a table."""
    planned, stood = plan.stages[state.stage][at], state.steps[at]
    match event, stood:
        case e.StepDone(attempt=0), Ready():  # the look before an attempt found it in place
            return _finish_step(plan, state, at)
        case e.StepSkipped(), Ready() if planned.skip:
            return _finish_step(plan, state, at)
        case e.StepSkipped(), Failed() if planned.on_failure == "continue":
            return _finish_step(plan, state, at)
        case _ if not _same_attempt(event, stood):
            raise IllegalEvent(state, event)
        case e.StepDone(), InDoubt():
            return _finish_step(plan, state, at)
        case e.ApplyStarted(step=step, attempt=attempt, before=before), Ready():
            known = attempt > 1 and any(item.step == step for item in state.applied)
            kept = planned.reversal != "nothing-to-undo" and not known
            applied = (*state.applied, Applied(step, before)) if kept else state.applied
            return Running(state.stage, _put(state.steps, at, InDoubt(attempt)), applied)
        case e.ApplyReturned(), InDoubt():
            return state
        case e.StepUnseen(attempt=attempt, why=why, not_before=later), InDoubt(looks=looks):
            return _stand(state, at, Doubted(attempt, why) if later is None else InDoubt(attempt, looks + 1, later))
        case e.AttemptFailed(attempt=attempt, error=error, not_before=later), Ready() | InDoubt():
            return _stand(state, at, Failed(attempt, error) if later is None else Ready(attempt + 1, later))
        case _:
            raise IllegalEvent(state, event)


def _while_rolling_back(plan: Plan, state: RollingBack, event: e.Event) -> State:
    undo = state.undo
    if getattr(event, "step", state.left[-1].step) != state.left[-1].step:
        raise IllegalEvent(state, event)
    match event, undo:
        case e.StepUndone(), InDoubt():
            return _undo_next(plan, state.left[:-1])
        case e.Paused(question=question), Failed():
            return Paused(question, state)
        case ((e.UndoStarted() | e.UndoReturned() | e.UndoFailed()), _) if not _same_attempt(event, undo):
            raise IllegalEvent(state, event)
        case e.UndoStarted(attempt=attempt), Ready():
            return RollingBack(state.left, InDoubt(attempt))
        case e.UndoReturned(), InDoubt():
            return state
        case e.UndoFailed(attempt=attempt, error=error, not_before=later), InDoubt():
            return RollingBack(state.left, Failed(attempt, error) if later is None else Ready(attempt + 1, later))
        case _:
            return _unmoved(state, event)


def _while_finishing(plan: Plan, state: Verifying | Deviating | Closing, event: e.Event) -> State:
    match state, event:
        case Verifying(), e.HealthObserved(well=True):
            return Closing(state.finish, "well")
        case Verifying(), e.HealthObserved(evidence=evidence):
            return Deviating(state.finish, state.applied, evidence)
        case Deviating(), e.Paused(question=question):
            return Paused(question, state)
        case Verifying(finish="completed") | Deviating(finish="completed"), e.RollbackStarted():
            return _roll_back(plan, state, event, state.applied)
        case Closing(), e.RunEnded() if (event.finish, event.service) == (state.finish, state.service):
            return Ended(event.finish, event.service)
        case _:
            return _unmoved(state, event)


def _while_paused(plan: Plan, state: Paused, event: e.Event) -> State:
    if not isinstance(event, e.OperatorAnswered):
        return _unmoved(state, event)
    if event.choice not in state.question.choices:
        raise IllegalEvent(state, event)
    match event.choice, state.then:
        case "abort", _:
            return Closing("aborted", "not-checked")
        case "rollback", Running() | Deviating():
            return _roll_back(plan, state, event, state.then.applied)
        case "accept", Deviating(finish=finish):
            return Closing(finish, "deviated")
        case "retry", Deviating(finish=finish, applied=applied):
            return Verifying(finish, applied)
        case choice, Running() as running:
            return _answered_step(plan, running, _position(plan, running, event, state.question.step), choice, event)
        case "retry", RollingBack(left=left, undo=undo):
            return RollingBack(left, Ready(undo.attempt + 1))
        case (("skip" | "done"), RollingBack(left=left)):
            return _undo_next(plan, left[:-1])
        case _:
            raise IllegalEvent(state, event)


def _answered_step(plan: Plan, state: Running, at: int, choice: e.Choice, event: e.Event) -> State:
    match choice, state.steps[at]:
        case "yes", Unconfirmed():
            return _stand(state, at, Ready(1))
        case "retry", Doubted(attempt=attempt) if plan.stages[state.stage][at].observable:
            return _stand(state, at, InDoubt(attempt))  # still in doubt: it is looked at again before all else
        case "retry", Doubted(attempt=attempt) | Failed(attempt=attempt):
            return _stand(state, at, Ready(attempt + 1))
        case "done", Doubted():
            return _finish_step(plan, state, at)
        case "skip", _:
            return _finish_step(plan, state, at)
        case _:
            raise IllegalEvent(state, event)


def _enter(plan: Plan, stage: int, applied: tuple[Applied, ...]) -> State:
    """The beginning of a stage, or of what follows the last one."""
    if stage == len(plan.stages):
        return _verify(plan, "completed", applied)
    return Running(stage, tuple(_first(step) for step in plan.stages[stage]), applied)


def _first(step: PlannedStep) -> Standing:
    return Unconfirmed() if step.confirm and not step.skip else Ready(1)


def _verify(plan: Plan, finish: e.Finish, applied: tuple[Applied, ...]) -> State:
    return Closing(finish, "not-checked") if plan.steady_state is None else Verifying(finish, applied)


def _finish_step(plan: Plan, state: Running, at: int) -> State:
    steps = _put(state.steps, at, Finished())
    if all(isinstance(step, Finished) for step in steps):
        return _enter(plan, state.stage + 1, state.applied)
    return Running(state.stage, steps, state.applied)


def _roll_back(plan: Plan, state: State, event: e.Event, applied: tuple[Applied, ...]) -> State:
    """Begin to undo what left something behind; the rest needs no compensation. Never past the point of no return."""
    if rollback_refused(plan, applied) is not None:
        raise IllegalEvent(state, event)
    undoable = {step.id for step in plan.steps() if step.reversal == "undo"}
    return _undo_next(plan, tuple(item for item in applied if item.step in undoable))


def _undo_next(plan: Plan, left: tuple[Applied, ...]) -> State:
    return RollingBack(left, Ready(1)) if left else _verify(plan, "rolled-back", ())


def _position(plan: Plan, state: Running, event: e.Event, step: str) -> int:
    """Where `step` stands in the current stage."""
    for at, planned in enumerate(plan.stages[state.stage]):
        if planned.id == step and not isinstance(state.steps[at], Finished):
            return at
    raise IllegalEvent(state, event)


def _same_attempt(event: e.Event, stood: Standing) -> bool:
    """Whether the event is of the attempt that the step stands at."""
    return getattr(event, "attempt", None) == getattr(stood, "attempt", 0)


def _stand(state: Running, at: int, standing: Standing) -> Running:
    """The same stage with one step standing elsewhere."""
    return Running(state.stage, _put(state.steps, at, standing), state.applied)


def _put(steps: tuple[Standing, ...], at: int, standing: Standing) -> tuple[Standing, ...]:
    return (*steps[:at], standing, *steps[at + 1 :])
