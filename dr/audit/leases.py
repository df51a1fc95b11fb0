"""The locks of environments that this process has, and when a run no longer keeps its environment."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dr.audit import lock
from dr.audit.copies import NOT_STORED
from dr.audit.directory import Directory
from dr.audit.journal import LocalJournal
from dr.audit.store import StoreRefused
from dr.audit.stored import StoredRun
from dr.core.events import Event, RunEnded, TakenOver, decode_entry
from dr.core.timestamp import iso
from dr.errors import JournalUnwritable


class Leases:
    """The locks that this process has taken: in the local directory always, and at home where there is one."""

    def __init__(self, directory: Path, *, take_over: bool) -> None:
        self._here = Directory(directory)
        self._take_over = take_over
        self._taken: list[tuple[lock.Objects, lock.Lease]] = []
        self._evicted: list[Event] = []

    def take_here(self, journal: LocalJournal, environment: str, who: str, is_over: Callable[[str], bool]) -> None:
        """Take the lock of an environment in the local directory. This process has the run's kernel lock already."""
        try:
            self._take(self._here, self._holder(journal, who), environment, is_over, lambda _: True)
        except StoreRefused as error:
            raise JournalUnwritable(
                f"the lock of the environment {environment} cannot be written: {error}",
                stands="nothing was touched",
                hint="make room or mend the permissions",
            ) from None

    def is_over_or_evicted(self, stored: StoredRun, *, evict: bool) -> bool:
        """Whether a run no longer keeps its environment here.

        It is over; or, with `evict`, no process here has it and the operator takes the environment from it. That is
        noted in `evicted`.
        """
        if is_over_here(stored):
            return True
        if not evict or stored.is_held():
            return False
        self.note_evicted(stored.run)
        return True

    def note_evicted(self, run: str) -> None:
        self._evicted.append(TakenOver(holder=f"the run {run}, which had not ended"))

    @property
    def evicted(self) -> Sequence[Event]:
        """The runs whose environment was taken although they had not ended, for the journal of this one."""
        return list(dict.fromkeys(self._evicted))

    def take_at(
        self, store: lock.Objects, journal: LocalJournal, environment: str, who: str, is_over: Callable[[str], bool]
    ) -> str:
        """Take the lock of an environment at home; who it was taken from, empty where nobody had it any more."""
        mine = self._holder(journal, who)
        return self._take(store, mine, environment, is_over, lambda other: lock.is_dead(other, journal.directory))

    def _holder(self, journal: LocalJournal, who: str) -> lock.Holder:
        return lock.Holder(
            run=journal.run, who=who, host=lock.this_host(), directory=str(journal.directory), at=iso(time.time())
        )

    def _take(
        self,
        store: lock.Objects,
        holder: lock.Holder,
        environment: str,
        is_over: Callable[[str], bool],
        is_dead: Callable[[lock.Holder], bool],
    ) -> str:
        lease = lock.take(store, environment, holder, is_over, is_dead, take_over=self._take_over)
        self._taken.append((store, lease))
        return lease.taken_from

    def let_go(self, *, ended: bool, unless: lock.Objects | None = None) -> list[str]:
        """Let go of every lock but those in `unless`, a store that has just failed; what went wrong, in words."""
        taken, self._taken = self._taken, []
        wrong = []
        for store, lease in taken:
            if store is not unless:
                try:
                    lock.let_go(store, lease, iso(time.time()), ended=ended)
                except NOT_STORED as error:
                    wrong.append(f"the lock of {lease.environment} was not released in {store.name}: {error}")
        return wrong


def is_over_here(stored: StoredRun) -> bool:
    """Whether the run has ended, or never began and no process is there to begin it."""
    if stored.is_held():
        return False
    return not stored.exists() or is_over(tuple(stored.raw()))


def is_over(lines: tuple[bytes, ...]) -> bool:
    """Whether a run that has these lines has ended, or was shut out before it began. Of a broken one nobody knows."""
    if not lines:
        return True
    try:
        first, last = decode_entry(lines[0]), decode_entry(lines[-1])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(last.event, RunEnded) or isinstance(first.event, TakenOver)
