"""What each step was doing between two entries.

Read off where the run stood between them, so it needs no entries of its own. Times are seconds since 1970, UTC.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from dr.core import decide as d
from dr.core import events as e
from dr.core import state as s
from dr.core.plan import Plan
from dr.core.timestamp import parse_iso

Doing = Literal["look", "apply", "wait", "doubt", "undo", "hold"]
"""`look`: it is observed. `apply`, `undo`: the target is being changed. `wait`: until the next attempt. `hold`: the
steady state is watched. `doubt`: the effect may or may not be there, and nobody saw which."""


class Phase(msgspec.Struct, frozen=True):
    """What a step was doing for a while. Without length where both its entries carry the same time."""

    doing: Doing
    start: float
    end: float
    attempt: int

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Gap(msgspec.Struct, frozen=True):
    """A while in which nothing was done."""

    why: Literal["asked", "stopped", "lost"]
    """`asked`: a question was open. `stopped`: the operator had stopped the run. `lost`: the process ended without a
    word, sometime after `start`."""
    start: float
    end: float


class Phases:
    """The fold over entries that finds the phases and the gaps. Give it each entry with the states around it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open: dict[str, _Open] = {}
        self._idle: tuple[Literal["asked", "stopped", "lost"], float] | None = None
        self._settling: dict[str, Doing] = {}
        self._last = 0.0
        self.of: dict[str, list[Phase]] = {}
        """The phases that are over, by step."""
        self.gaps: list[Gap] = []

    def take(self, event: e.Event, before: s.State, after: s.State, at: float) -> None:
        """Go on by one entry; `at` never goes back."""
        match event:
            case e.Paused():
                self._begin_gap("asked", before, at)
            case e.RunStopped():
                self._begin_gap("stopped", before, at)
            case e.RunResumed():
                self._begin_gap("lost", before, self._last)
            case e.ApplyStarted(step=step):
                self._settling[step] = "apply"
            case e.UndoStarted(step=step):
                self._settling[step] = "undo"
            case e.ApplyReturned(step=step) | e.UndoReturned(step=step):
                self._settling[step] = "look"
            case e.StepUnseen(step=step):
                self._settling[step] = "doubt"
            case _:
                pass
        goes_on = isinstance(event, e.OperatorAnswered | e.RunResumed)
        if goes_on and not isinstance(after, s.Paused):  # a question stays open whoever stops and resumes meanwhile
            self._end_gap(at)
        self._turn(after, at)
        self._last = at

    def end(self) -> None:
        """End with the last entry whatever still goes on."""
        for step in list(self._open):
            self._close(step, self._last)
        if self._idle is not None:
            self._end_gap(self._last)

    def _begin_gap(self, why: Literal["asked", "stopped", "lost"], state: s.State, at: float) -> None:
        """Nobody is at work from here on: what was being changed is in doubt until it is seen."""
        if self._idle is None:
            self._idle = (why, at)
            for action in d.decide(self._plan, state):
                if isinstance(action, d.Settle | d.SettleUndo):
                    self._settling[action.step.id] = "doubt"
            self._turn(state, at)

    def _end_gap(self, at: float) -> None:
        assert self._idle is not None
        self.gaps.append(Gap(*self._idle, at))
        self._idle = None

    def _turn(self, state: s.State, at: float) -> None:
        """End the phases that are over, begin the new ones."""
        now = {step: phase for step, phase in self._doing(state, at) if self._idle is None or phase.doing == "doubt"}
        for step, phase in list(self._open.items()):
            new = now.get(step)
            if new is not None and (new.doing, new.attempt, new.until) == (phase.doing, phase.attempt, phase.until):
                del now[step]
            else:
                self._close(step, at)
        self._open |= now

    def _doing(self, state: s.State, at: float) -> Iterator[tuple[str, "_Open"]]:
        """What each step does from `at` on."""
        for action in d.decide(self._plan, state):
            match action:
                case d.Attempt(step=step, number=number, not_before=None):
                    yield step.id, _Open("look", at, number)
                case d.Attempt(step=step, number=number, not_before=str(later)):
                    yield step.id, _Open("wait", at, number, parse_iso(later))
                case d.Undo(step=step, number=number, not_before=str(later)):
                    yield step.id, _Open("wait", at, number, parse_iso(later))
                case d.Settle(step=step, number=number) | d.SettleUndo(step=step, number=number):
                    yield step.id, _Open(self._settling[step.id], at, number)
                case d.CheckHealth(step=step):
                    yield step.id, _Open("hold", at, 1)
                case d.Ask(question=question) | d.Await(question=question):
                    if question.about in {"in-doubt", "undo-failed"} and question.step in self._open:
                        yield question.step, _Open("doubt", at, self._open[question.step].attempt)
                case _:
                    pass

    def _close(self, step: str, at: float) -> None:
        """A wait that was over before `at` became a look."""
        phase = self._open.pop(step)
        found = self.of.setdefault(step, [])
        if phase.until is None or at <= phase.until:
            found.append(Phase(phase.doing, phase.start, at, phase.attempt))
        else:
            over = max(phase.start, phase.until)
            found.append(Phase("wait", phase.start, over, phase.attempt))
            found.append(Phase("look", over, at, phase.attempt))


class _Open(msgspec.Struct, frozen=True):
    """A phase that has begun; `until` is when a wait is over."""

    doing: Doing
    start: float
    attempt: int
    until: float | None = None
