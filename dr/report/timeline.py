"""When what happened in a run: a pure fold over its entries."""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from dr.audit.replay import senseless
from dr.core import events as e
from dr.core import state as s
from dr.core.duration import Duration
from dr.core.plan import STEADY_STATE, Plan
from dr.core.timestamp import parse_iso
from dr.report.phases import Gap, Phase, Phases

Ending = Literal[
    "not reached", "unfinished", "in doubt", "done", "in place", "ruled done", "skipped", "failed",
    "undone", "undo failed", "ruled undone", "left applied", "held", "did not hold",
]  # fmt: skip
"""How a step stands at the end of the journal. `in place`: found there, nothing was changed. `ruled`: by the operator's
word and no observation."""


class Lane(msgspec.Struct, frozen=True):
    """One step over time."""

    step: str
    phases: tuple[Phase, ...]
    ending: Ending


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The moments that recovery is measured by, in seconds since 1970, UTC."""

    started: float
    last: float
    """The last entry."""
    detected: float | None = None
    """None: nobody said when."""
    last_effect: float | None = None
    """When it was last seen that an effect is there, or that one was undone."""
    well: float | None = None
    """When the steady state had held for its hold time. Recovery ends here (safety rule 14)."""
    rto: Duration | None = None
    lost_at_most: float | None = None
    """Seconds of writes that were lost at most, as a step has said that took them from a heartbeat. None: none has."""
    rpo: Duration | None = None
    set_back: float = 0.0
    """Seconds by which the clock was seen to jump back at most: it was set, or another machine went on. All times here
    pretend that it stood meanwhile; so what lies between two of them took at least that long."""

    @property
    def since(self) -> float:
        """Where recovery time counts from: detection, else the start of the run."""
        return self.started if self.detected is None else self.detected

    @property
    def recovery_time(self) -> float | None:
        """Seconds until the steady state had held; None: it has not."""
        return None if self.well is None else self.well - self.since

    @property
    def rto_met(self) -> bool | None:
        """None: there is no objective, no recovery to hold against it, or no telling because the clock jumped back."""
        if self.rto is None or self.recovery_time is None:
            return None
        if self.recovery_time > self.rto:
            return False
        return True if self.recovery_time + self.set_back <= self.rto else None

    @property
    def rpo_met(self) -> bool | None:
        """None: there is no objective, or no telling: more may have been lost than it allows, or less."""
        if self.rpo is None or self.lost_at_most is None or self.lost_at_most > self.rpo:
            return None
        return True


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A run over time."""

    lanes: tuple[Lane, ...]
    """Every step in the order of the plan; the steady state, if one is declared, comes last."""
    gaps: tuple[Gap, ...]
    measured: Measured
    state: s.State
    actors: tuple[str, ...]
    """Whose entries there are, in the order of their first one."""
    ruled: tuple[str, ...]
    """Steps of which the operator's word once stood in for an observation."""


def timeline(plan: Plan, entries: Iterable[e.Entry]) -> Timeline:
    """Fold the entries of a run; there is at least one.

    Raises:
        JournalBroken: an entry cannot follow the one before it, or its time cannot be read.
    """
    state: s.State = s.NotStarted()
    phases, endings, actors = Phases(plan), dict[str, Ending](), dict[str, None]()
    measured: Measured | None = None
    ruled = dict[str, None]()
    for entry in entries:
        try:
            before, state = state, s.evolve(plan, state, entry.event)
            measured = _measure(plan, measured, entry)
            phases.take(entry.event, before, state, measured.last)
        except (s.IllegalEvent, ValueError) as error:
            raise senseless(entry, error) from None
        actors.setdefault(entry.actor)
        for step, ending in _endings(entry.event, before):
            endings[step] = ending
            if ending in {"ruled done", "ruled undone"}:
                ruled.setdefault(step)
    phases.end()
    assert measured is not None
    return Timeline(
        lanes=tuple(_lanes(plan, phases, endings)),
        gaps=tuple(phases.gaps),
        measured=measured,
        state=state,
        actors=tuple(actors),
        ruled=tuple(ruled),
    )


def measure(plan: Plan, entries: Iterable[e.Entry]) -> Measured:
    """What `timeline` measures, alone; there is at least one entry.

    Raises:
        JournalBroken: the time of an entry cannot be read.
    """
    measured: Measured | None = None
    for entry in entries:
        try:
            measured = _measure(plan, measured, entry)
        except ValueError as error:
            raise senseless(entry, error) from None
    assert measured is not None
    return measured


def _lanes(plan: Plan, phases: Phases, endings: dict[str, Ending]) -> Iterator[Lane]:
    names = [step.id for step in plan.steps()]
    if plan.steady_state is not None:
        names.append(STEADY_STATE)
    for name in names:
        found = tuple(phases.of.get(name, ()))
        yield Lane(name, found, endings.get(name, "unfinished" if found else "not reached"))


def _measure(plan: Plan, measured: Measured | None, entry: e.Entry) -> Measured:
    """What is measured with one more entry; `evolve` has seen to it that the first is `run-started`."""
    at = parse_iso(entry.at)
    match entry.event:
        case e.RunStarted(detected=detected):
            when = parse_iso(detected) if detected else None
            last = at if when is None else max(at, when)
            return Measured(
                started=at,
                last=last,
                detected=when,
                rto=plan.objectives.rto,
                rpo=plan.objectives.rpo,
                set_back=last - at,
            )
        case event:
            assert measured is not None
            measured = msgspec.structs.replace(measured, set_back=max(measured.set_back, measured.last - at))
            at = max(at, measured.last)
    match event:
        case e.StepDone(attempt=attempt) if attempt > 0:
            return msgspec.structs.replace(measured, last=at, last_effect=at)
        case e.StepUndone():
            return msgspec.structs.replace(measured, last=at, last_effect=at)
        case e.ApplyReturned(claim={"lost_at_most_seconds": int() | float() as lost}):
            return msgspec.structs.replace(measured, last=at, lost_at_most=max(lost, measured.lost_at_most or 0.0))
        case e.HealthObserved(well=True):
            return msgspec.structs.replace(measured, last=at, well=at)
        case _:
            return msgspec.structs.replace(measured, last=at)


def _endings(event: e.Event, before: s.State) -> Iterator[tuple[str, Ending]]:
    """How steps stand after the event, for those it tells of."""
    match event:
        case e.ApplyStarted(step=step) | e.StepUnseen(step=step) | e.UndoStarted(step=step):
            yield step, "in doubt"
        case e.StepDone(step=step, attempt=attempt):
            yield step, "done" if attempt else "in place"
        case e.StepSkipped(step=step):
            yield step, "skipped"
        case e.AttemptFailed(step=step, not_before=later):
            yield step, "failed" if later is None else "unfinished"
        case e.UndoFailed(step=step):
            yield step, "undo failed"
        case e.StepUndone(step=step):
            yield step, "undone"
        case e.HealthObserved(well=well):
            yield STEADY_STATE, "held" if well else "did not hold"
        case e.OperatorAnswered(choice=choice) if isinstance(before, s.Paused):
            yield from _ruled(choice, before)
        case _:
            pass


def _ruled(choice: e.Choice, paused: s.Paused) -> Iterator[tuple[str, Ending]]:
    step, undoing = paused.question.step, isinstance(paused.then, s.RollingBack)
    match choice:
        case "done":
            yield step, "ruled undone" if undoing else "ruled done"
        case "skip":
            yield step, "left applied" if undoing else "skipped"
        case "retry" | "yes":
            yield step, "unfinished"
        case _:
            pass
