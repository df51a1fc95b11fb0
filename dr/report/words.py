"""Entries, plans and outcomes in the words of an operator."""

from collections.abc import Mapping
from typing import assert_never

from dr.core import events as e
from dr.core import state as s
from dr.core.plan import Plan, PlannedStep
from dr.core.step import Evidence

CHOICES: Mapping[e.Choice, str] = {
    "retry": "look again, and try again where it is not in place",
    "done": "I have seen that it took effect",
    "skip": "leave it and go on (needs a comment)",
    "rollback": "undo what was applied, in reverse order",
    "abort": "end the run here; what was applied stays",
    "yes": "go on",
    "accept": "end the run as it is",
}
_OTHERWISE: Mapping[e.About, Mapping[e.Choice, str]] = {
    "steady-state": {"retry": "verify it once more"},
    "undo-failed": {
        "retry": "undo it once more",
        "done": "I have seen that it is undone",
        "skip": "leave it as it is and undo the rest (needs a comment)",
    },
}
"""Where the situation gives a choice a meaning of its own."""

_SIGNED = "Signed by {}: at the start, at each pause and at the end."
_UNSIGNED = "Unsigned: the journal proves what was done in which order, not who did it."
_REVERSAL = {"undo": "can be undone", "nothing-to-undo": "leaves nothing to undo", "impossible": "CANNOT BE UNDONE"}


def sentence(event: e.Event) -> str:
    """What happened, in one line."""
    return printable(_sentence(event))


def _sentence(event: e.Event) -> str:  # noqa: C901 - one case per event, the commonest first
    match event:
        case e.ApplyStarted(step=step, attempt=attempt):
            return f"{step}: applying{_nth(attempt)}"
        case e.StepDone(step=step, attempt=attempt, evidence=evidence):
            found = " (nothing had to be changed)" if attempt == 0 else ""
            return f"{step}: done{found}{_told(evidence)}"
        case e.RunStarted(runbook=runbook, environment=environment, mode=mode, reason=reason, unsigned=unsigned):
            said = f": {reason}" if reason else ""
            return f"run of {runbook} on {environment} started, {mode}{said}{_because_unsigned(unsigned)}"
        case e.RunResumed(host=host, torn_bytes=torn, unsigned=unsigned):
            left = f"; an unfinished entry of {torn} bytes was set aside" if torn else ""
            return f"run resumed on {host}{left}{_because_unsigned(unsigned)}"
        case e.RunStopped(because=because):
            return f"run stopped: {because}"
        case e.ApplyReturned(step=step, claim=claim, error=error):
            return f"{step}: the target says: {error or facts(claim)}"
        case e.AttemptFailed(step=step, attempt=attempt, error=error, not_before=not_before):
            return (
                f"{step}: attempt {attempt} failed: {error}{f' (again at {clock(not_before)})' if not_before else ''}"
            )
        case e.StepUnseen(step=step, why=why, not_before=not_before):
            return (
                f"{step}: IN DOUBT, it cannot be seen: {why}{f' (again at {clock(not_before)})' if not_before else ''}"
            )
        case e.StepSkipped(step=step, comment=comment):
            return f"{step}: skipped: {comment}"
        case e.Paused(question=question):
            return f"paused: {question.text}"
        case e.OperatorAnswered(choice=choice, comment=comment):
            return f"the operator answered: {choice}{f' ({comment})' if comment else ''}"
        case e.HealthObserved(well=well, evidence=evidence):
            return f"the steady state {'held' if well else 'DID NOT HOLD'}{_told(evidence)}"
        case e.RunEnded(finish=finish, service=service):
            return f"run ended: {finish}; service {service.replace('-', ' ')}"
        case e.CopyLate() | e.HomeLeft() | e.TakenOver() | e.CopyTrusted():
            return _recording(event)
        case _:
            return _undoing(event)


def _because_unsigned(why: str) -> str:
    return f"; UNSIGNED: {why}" if why else ""


def _recording(event: e.CopyLate | e.HomeLeft | e.TakenOver | e.CopyTrusted) -> str:
    """What happened to the journal itself."""
    match event:
        case e.CopyLate(copy=copy, why=why):
            return f"the journal's mirror {copy} is left behind: {why}"
        case e.HomeLeft(reason=reason):
            return f"goes on WITHOUT THE JOURNAL'S HOME: {reason}"
        case e.TakenOver(holder=holder):
            return f"taken over from {holder}"
        case e.CopyTrusted(copy=copy, entry=entry, against=against):
            others = ", ".join(against)
            return f"copies of the journal differed from entry {entry} on; ruled right: {copy}, against {others}"
        case _:
            assert_never(event)


def _undoing(
    event: e.RollbackStarted | e.UndoStarted | e.UndoReturned | e.UndoFailed | e.StepUndone,
) -> str:
    match event:
        case e.RollbackStarted(because=because):
            return f"rolling back: {because}"
        case e.UndoStarted(step=step, attempt=attempt):
            return f"{step}: undoing{_nth(attempt)}"
        case e.UndoReturned(step=step, claim=claim, error=error):
            return f"{step}: of the undo the target says: {error or facts(claim)}"
        case e.UndoFailed(step=step, attempt=attempt, error=error):
            return f"{step}: undo {attempt} failed: {error}"
        case e.StepUndone(step=step, evidence=evidence):
            return f"{step}: undone{_told(evidence)}"
        case _:
            assert_never(event)


def choice_lines(question: e.Question) -> list[str]:
    """What can be answered, and what each answer means here."""
    words = {**CHOICES, **_OTHERWISE.get(question.about, {})}
    return [f"  {choice:9} {words[choice]}" for choice in question.choices]


def answer_command(run: str, question: e.Question) -> str:
    """The command that answers it, and no other question, should somebody else have answered it meanwhile.

    Not `retry|skip`: a shell that is given that as it stands would answer retry.
    """
    return f"dr answer {run} --step {question.step} ANSWER   ({', '.join(question.choices)})"


def facts(evidence: Evidence) -> str:
    """Evidence as `name: value, name: value`, shortened; the whole of it stands in the entry."""
    return ", ".join(f"{name}: {_short(value)}" for name, value in evidence.items())


def clock(at: str) -> str:
    """The time of day of a timestamp: `14:00:05.3`, UTC."""
    return at[11:21]


def printable(text: str) -> str:
    """`text` with control characters by their codes: what a website or a database said must not steer the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def standing(plan: Plan, state: s.State, doubt: str = "in doubt") -> str:
    """Where a run stands, in a line; `doubt` is the word for a step that was applied and not seen yet."""
    match state:
        case s.Running():
            return _counted(plan, state, doubt)
        case s.Paused(question=question, then=s.Running() as running):
            return f"paused on {question.step}, {_counted(plan, running, doubt)}"
        case _:
            return s.describe(state)


def plan_lines(plan: Plan, digest: str, signer: str = "") -> list[str]:
    """The plan, as it is shown before a run. `signer`: who signs, and with what; empty when nobody does."""
    return [printable(line) for line in _plan_lines(plan, digest, signer)]


def signer(first: e.Entry) -> str:
    """Who signs a run, as its first entry says; empty: nobody."""
    fingerprint = first.event.signer if isinstance(first.event, e.RunStarted) else ""
    return f"{first.actor} ({fingerprint})" if fingerprint else ""


def _plan_lines(plan: Plan, digest: str, signer: str) -> list[str]:
    lines = [f"{plan.title}  ({plan.runbook})"]
    if plan.environment:
        lines.append(f"environment {plan.environment}, {plan.mode}; plan {digest[:12]}")
    named = (("RTO", plan.objectives.rto), ("RPO", plan.objectives.rpo))
    objectives = [f"{name} {value}" for name, value in named if value is not None]  # `RPO 0s` is the strictest of all
    if objectives:
        lines.append("objectives: " + ", ".join(objectives))
    if plan.parameters:
        lines.append("parameters: " + ", ".join(f"{name}={value}" for name, value in plan.parameters.items()))
    lines.append("")
    barrier = plan.point_of_no_return()
    number = 0
    for stage in plan.stages:
        side_by_side = len(stage) > 1
        if side_by_side:
            lines.append("     side by side:")
        for step in stage:
            number += 1
            if step is barrier:
                lines.append("---- point of no return: from here nothing is rolled back ----")
            lines += _step_lines(number, step, "  " if side_by_side else "")
    if plan.steady_state is None:
        lines.append("  =  no steady state is declared: nothing will be verified at the end")
    else:
        lines.append(f"  =  steady state: {plan.steady_state.summary}")
    lines += ["", _SIGNED.format(signer) if signer else _UNSIGNED]
    return lines


def _step_lines(number: int, step: PlannedStep, indent: str) -> list[str]:
    notes = [_REVERSAL[step.reversal]]
    if not step.observable:
        notes.append("CANNOT BE OBSERVED: you will be asked whether it took effect")
    if step.confirm:
        notes.append("you are asked first")
    if step.on_failure != "pause":
        notes.append(f"on failure: {step.on_failure}")
    head = f"{indent}{number:3}  {step.id}: {step.title or step.summary}"
    lines = [head]
    if step.title:
        lines.append(f"{indent}     {step.summary}")
    lines.append(f"{indent}     {step.kind}; {'SKIPPED: ' + step.skip if step.skip else '; '.join(notes)}")
    return lines


LONGEST = 160
"""Characters of a value in a line; the entry has all of it."""
FIRST = 3
"""Items of a list that are shown."""


def _counted(plan: Plan, running: s.Running, doubt: str) -> str:
    before = sum(len(stage) for stage in plan.stages[: running.stage])
    done = before + sum(isinstance(step, s.Finished) for step in running.steps)
    unseen = [
        planned.id
        for planned, stands in zip(plan.stages[running.stage], running.steps, strict=True)
        if isinstance(stands, s.InDoubt | s.Doubted)
    ]
    return f"{done} of {len(plan.steps())} steps finished" + (f", {doubt}: {', '.join(unseen)}" if unseen else "")


def _nth(attempt: int) -> str:
    return f" (attempt {attempt})" if attempt > 1 else ""


def _told(evidence: Evidence) -> str:
    return f": {facts(evidence)}" if evidence else ""


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        text = "{" + facts(value) + "}"
    elif isinstance(value, list | tuple):
        text = "; ".join(_short(item) for item in value[:FIRST]) + ("; …" if len(value) > FIRST else "") or "none"
    elif value is None or isinstance(value, bool):
        text = {None: "none", True: "yes", False: "no"}[value]
    elif isinstance(value, float):
        text = f"{value:.3g}" if "e+" not in f"{value:.3g}" else f"{value:.0f}"  # nobody counts seconds with exponents
    else:
        text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
