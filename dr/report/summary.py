"""A run in figures: what a program reads that counts runs or compares them over a year."""

from typing import Literal

import msgspec

from dr.audit.replay import Folded, fold
from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.core import state as s
from dr.errors import DrError, JournalBroken, NoSuchRun, PlanChanged
from dr.report.timeline import measure
from dr.report.verdict import in_brief
from dr.report.words import standing

Standing = Literal["ended", "paused", "interrupted", "held", "never-started", "broken", "unreadable"]
"""`held`: a live process has the run. `interrupted`: none has, and nobody is asked. `broken`: it does not verify."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run. The names are part of what `dr` promises: none goes or changes its meaning, new ones may come.

    Times are UTC in ISO 8601, spans are in seconds. What is not known, or does not apply, is null and never left out.
    """

    run: str
    environment: str
    stands: str
    """For people: where the run stands and what goes on with it."""
    standing: Standing
    finish: e.Finish | None = None
    """Null until the run has ended."""
    service: e.Service | None = None
    """The same."""
    runbook: str | None = None
    mode: str | None = None
    by: str | None = None
    """Who started it."""
    reason: str | None = None
    detected: str | None = None
    started: str | None = None
    last: str | None = None
    """The last entry."""
    recovery_seconds: float | None = None
    """From detection, or else from the start, until the steady state had held. Null: no recovery was measured."""
    rto_seconds: float | None = None
    rto_met: bool | None = None
    """Null: no objective, no recovery, or no telling because a clock was set back."""
    lost_at_most_seconds: float | None = None
    """Seconds of writes that were lost at most. Null: no step has measured it."""
    rpo_seconds: float | None = None
    rpo_met: bool | None = None
    """Null: no objective, not measured, or more may have been lost than it allows."""
    set_back_seconds: float | None = None
    """By how much a clock was seen to go back at most: every span above may have been longer by that."""


def summarize(stored: StoredRun) -> Summary:
    """The run, after its chain and its checkpoints were verified; their signatures were not."""
    try:
        stored.verify()
        folded = fold(stored)
        measured = measure(folded.plan, stored.entries())
    except NoSuchRun:
        stands = "never started, nothing was touched"
        return Summary(run=stored.run, environment="", stands=stands, standing="never-started")
    except (JournalBroken, PlanChanged) as error:
        return Summary(run=stored.run, environment="?", stands=f"DOES NOT VERIFY [{error.code}]", standing="broken")
    except DrError as error:
        return Summary(run=stored.run, environment="?", stands=f"unreadable [{error.code}]", standing="unreadable")
    began, command = folded.first.event, next_command(stored, folded)
    assert isinstance(began, e.RunStarted)
    stands = "; ".join((stands_now(stored, folded), *in_brief(measured)))
    ended = folded.state if isinstance(folded.state, s.Ended) else None
    return Summary(
        run=stored.run,
        environment=folded.plan.environment,
        stands=stands + (f" (next: dr {command})" if command else ""),
        standing=_standing(stored, folded.state),
        finish=ended.finish if ended else None,
        service=ended.service if ended else None,
        runbook=began.runbook,
        mode=began.mode,
        by=folded.first.actor,
        reason=began.reason,
        detected=began.detected or None,
        started=folded.first.at,
        last=folded.last.at,
        recovery_seconds=_rounded(measured.recovery_time),
        rto_seconds=_rounded(measured.rto),
        rto_met=measured.rto_met,
        lost_at_most_seconds=measured.lost_at_most,
        rpo_seconds=_rounded(measured.rpo),
        rpo_met=measured.rpo_met,
        set_back_seconds=_rounded(measured.set_back),
    )


def stands_now(stored: StoredRun, folded: Folded) -> str:
    """Where the run stands, and whether somebody is working on it."""
    held = stored.is_held()
    words = standing(folded.plan, folded.state, doubt="under way" if held else "in doubt")
    if isinstance(folded.state, s.Ended):
        return words
    if held:
        return f"{words}; {stored.holder()} is working on it"
    return words if isinstance(folded.state, s.Paused) else f"interrupted, {words}"


def next_command(stored: StoredRun, folded: Folded) -> str:
    """The command that goes on with the run; empty when there is nothing to do."""
    if isinstance(folded.state, s.Ended) or stored.is_held():
        return ""
    return "answer" if isinstance(folded.state, s.Paused) else "resume"


def _standing(stored: StoredRun, state: s.State) -> Standing:
    if isinstance(state, s.Ended):
        return "ended"
    if stored.is_held():
        return "held"
    return "paused" if isinstance(state, s.Paused) else "interrupted"


def _rounded(seconds: float | None) -> float | None:
    """To the microsecond, which is what entries hold; a sum of floats has digits behind that."""
    return None if seconds is None else round(float(seconds), 6)
