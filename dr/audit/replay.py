"""A stored run read back: the plan it is pinned to, and where its entries have brought it."""

import msgspec

from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.core import state as s
from dr.core.plan import Plan, decode_plan, digest
from dr.errors import JournalBroken, NoSuchRun, PlanChanged


class Folded(msgspec.Struct, frozen=True):
    """A stored run read back: its plan, its first and last entry, and where it stands."""

    plan: Plan
    first: e.Entry
    last: e.Entry
    state: s.State


def begun(stored: StoredRun) -> tuple[Plan, e.Entry]:
    """The plan a run is pinned to, and its first entry (safety rule 11).

    Raises:
        NoSuchRun: the run was never started.
        PlanChanged: the stored plan is not the one the run was started with.
    """
    first = next(stored.entries(), None)
    if first is None and (marks := stored.checkpoints()):
        raise JournalBroken(
            f"the journal of {stored.run} is empty, but a checkpoint knows {marks[-1].size} entries: they were removed",
            stands="nothing was touched",
            hint=f"dr audit verify {stored.run}",
        )
    if first is None or not isinstance(first.event, e.RunStarted):
        raise NoSuchRun(
            f"the run {stored.run} was never started",
            stands="nothing was touched by it",
            hint="start a new one: dr run",
        )
    raw = stored.plan()
    if digest(raw) != first.event.plan:
        raise PlanChanged(
            f"the stored plan of {stored.run} is not the one it was started with",
            stands="nothing was touched",
            hint=f"put the right plan.json back into {stored.directory}, or start a new run",
        )
    try:
        return decode_plan(raw), first
    except msgspec.DecodeError as error:
        what = f"the plan of {stored.run} is of another format: {error}"
        raise PlanChanged(what, stands="nothing was touched") from None


def fold(stored: StoredRun) -> Folded:
    """Read a run back. The chain is not verified here (`StoredRun.verify` does that).

    Raises:
        JournalBroken: an entry cannot be read, or cannot follow the one before it.
        NoSuchRun, PlanChanged: as `begun`.
    """
    plan, first = begun(stored)
    state: s.State = s.NotStarted()
    last = first
    for last in stored.entries():
        try:
            state = s.evolve(plan, state, last.event)
        except s.IllegalEvent as error:
            raise senseless(last, error) from None
    return Folded(plan, first, last, state)


def senseless(entry: e.Entry, why: Exception) -> JournalBroken:
    """The error of an entry that can be read, and cannot stand where it does."""
    return JournalBroken(
        f"the journal of {entry.run} does not make sense: entry {entry.seq}: {why}",
        stands="nothing was touched",
        hint=f"dr audit show {entry.run}",
    )
