"""What to do next: a pure function of the plan and where the run stands.

There is no special path for a resume. A step in doubt is settled by an observation, whether the doubt is a millisecond
old or the process that left it died a week ago.
"""

from typing import assert_never

import msgspec

from dr.core import events as e
from dr.core import state as s
from dr.core.evidence import findings
from dr.core.plan import STEADY_STATE, Plan, PlannedStep
from dr.core.step import Evidence


class Attempt(msgspec.Struct, frozen=True):
    """Look; where the effect is not in place, record the intent and apply."""

    step: PlannedStep
    number: int
    not_before: str | None = None


class Settle(msgspec.Struct, frozen=True):
    """Observe a step in doubt."""

    step: PlannedStep
    number: int
    looks: int = 0
    not_before: str | None = None


class Skip(msgspec.Struct, frozen=True):
    step: PlannedStep
    comment: str


class Undo(msgspec.Struct, frozen=True):
    """Record the intent and go back to `before`."""

    step: PlannedStep
    number: int
    before: Evidence
    not_before: str | None = None


class SettleUndo(msgspec.Struct, frozen=True):
    """Observe whether an undo took effect."""

    step: PlannedStep
    number: int
    before: Evidence


class CheckHealth(msgspec.Struct, frozen=True):
    """Observe the steady state for its hold time."""

    step: PlannedStep


class Ask(msgspec.Struct, frozen=True):
    """Put a question to the operator; it becomes a `paused` entry."""

    question: e.Question


class Await(msgspec.Struct, frozen=True):
    """A question is open."""

    question: e.Question


class RollBack(msgspec.Struct, frozen=True):
    because: str


class End(msgspec.Struct, frozen=True):
    finish: e.Finish
    service: e.Service


Work = Attempt | Settle | Undo | SettleUndo | CheckHealth
"""What takes time and is performed by the engine's workers."""

Course = Skip | Ask | Await | RollBack | End
"""What only takes an entry, and moves the run on as a whole."""

Action = Work | Course


def decide(plan: Plan, state: s.State) -> tuple[Action, ...]:
    """The actions that may be begun now, all of them side by side. Empty only before the start and after the end."""
    match state:
        case s.Running():
            return _next_steps(plan, state)
        case s.RollingBack(left=left, undo=undo):
            return (_next_undo(plan, left[-1], undo),)
        case s.Verifying():
            assert plan.steady_state is not None
            return (CheckHealth(plan.steady_state),)
        case s.Deviating():
            return (Ask(_steady_state_question(plan, state)),)
        case s.Closing(finish=finish, service=service):
            return (End(finish, service),)
        case s.Paused(question=question):
            return (Await(question),)
        case s.NotStarted() | s.Ended():
            return ()
        case _:
            assert_never(state)


def _in_doubt_question(plan: Plan, state: s.Running, step: PlannedStep, why: str) -> e.Question:
    """What the operator is asked when an applied step cannot be seen (safety rules 2 to 4)."""
    again = "look again, and apply it again if it is not there" if step.observable else "apply it again"
    text = (
        f"{step.id} may or may not have taken effect: {why}. Look at it yourself. "
        f"retry: {again}; done: I saw that it took effect"
    )
    choices: tuple[e.Choice, ...] = ("retry", "done", "skip", *_rollback(plan, state.applied), "abort")
    return e.Question(about="in-doubt", step=step.id, text=text, choices=choices)


def _undo_question(step: PlannedStep, why: str) -> e.Question:
    """What the operator is asked when an undo failed or cannot be seen."""
    text = f"undoing {step.id} is not confirmed: {why}. done: I saw that it is undone; skip: leave it as it is"
    return e.Question(about="undo-failed", step=step.id, text=text, choices=("retry", "done", "skip", "abort"))


def _next_steps(plan: Plan, state: s.Running) -> tuple[Action, ...]:
    """What is in doubt first. Beside a failure or an open question nothing new begins."""
    begin: list[Action] = []
    settle: list[Action] = []
    rulings: list[Action] = []
    failures: list[Action] = []
    questions: list[Action] = []
    for step, standing in zip(plan.stages[state.stage], state.steps, strict=True):
        match standing:
            case s.Ready(attempt=attempt, not_before=not_before):
                begin.append(Skip(step, step.skip) if step.skip else Attempt(step, attempt, not_before))
            case s.InDoubt(attempt=attempt, looks=looks, not_before=not_before):
                settle.append(Settle(step, attempt, looks, not_before))
            case s.Doubted(why=why):
                rulings.append(Ask(_in_doubt_question(plan, state, step, why)))
            case s.Failed(error=error):
                failures.append(_after_failure(plan, state, step, error))
            case s.Unconfirmed():
                questions.append(Ask(_confirm_question(plan, state, step)))
            case s.Finished():
                pass
            case _:
                assert_never(standing)
    held_up = (*rulings, *failures, *questions)
    if held_up:
        return tuple(settle) or held_up[:1]
    return (*settle, *begin)


def _after_failure(plan: Plan, state: s.Running, step: PlannedStep, error: str) -> Action:
    match step.on_failure:
        case "continue":
            return Skip(step, f"on_failure is continue; it failed: {error}")
        case "rollback":
            barrier = s.rollback_refused(plan, state.applied)
            if barrier is None:
                return RollBack(f"{step.id} failed: {error}")
            text = f"{step.id} failed: {error}. A rollback is not possible: {barrier.id} cannot be undone"
            return Ask(e.Question(about="no-return", step=step.id, text=text, choices=("retry", "skip", "abort")))
        case "pause":
            choices: tuple[e.Choice, ...] = ("retry", "skip", *_rollback(plan, state.applied), "abort")
            return Ask(e.Question(about="failed", step=step.id, text=f"{step.id} failed: {error}", choices=choices))
        case _:
            assert_never(step.on_failure)


def _confirm_question(plan: Plan, state: s.Running, step: PlannedStep) -> e.Question:
    choices: tuple[e.Choice, ...] = ("yes", "skip", *_rollback(plan, state.applied), "abort")
    return e.Question(about="confirm", step=step.id, text=step.confirm, choices=choices)


def _steady_state_question(plan: Plan, state: s.Deviating) -> e.Question:
    why = findings(state.evidence)
    text = f"the steady state does not hold{f': {why}' if why else ''}"
    back = _rollback(plan, state.applied) if state.finish == "completed" else ()
    return e.Question(about="steady-state", step=STEADY_STATE, text=text, choices=("retry", *back, "accept"))


def _next_undo(plan: Plan, applied: s.Applied, undo: s.Ready | s.InDoubt | s.Failed) -> Action:
    step = next(step for step in plan.steps() if step.id == applied.step)
    match undo:
        case s.Ready(attempt=attempt, not_before=not_before):
            return Undo(step, attempt, applied.before, not_before)
        case s.InDoubt(attempt=attempt):
            return SettleUndo(step, attempt, applied.before)
        case s.Failed(error=error):
            return Ask(_undo_question(step, error))
        case _:
            assert_never(undo)


def _rollback(plan: Plan, applied: tuple[s.Applied, ...]) -> tuple[e.Choice, ...]:
    return () if s.rollback_refused(plan, applied) else ("rollback",)
