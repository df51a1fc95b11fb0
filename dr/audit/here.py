"""The book of all runs, from which they are started and gone on with.

Here also: the book of a journal that has no home but the local directory.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from dr.audit import lock
from dr.audit.book import LocalBook
from dr.audit.chain import Seal, unsealed
from dr.audit.comparison import Comparison
from dr.audit.copies import NOT_STORED
from dr.audit.directory import Directory
from dr.audit.journal import Journal, LocalJournal
from dr.audit.replay import begun
from dr.audit.store import StoreRefused
from dr.audit.stored import StoredRun, Torn
from dr.core.events import Event, RunEnded, TakenOver, decode_entry
from dr.core.timestamp import iso
from dr.errors import JournalUnwritable


class Book(Protocol):
    """All runs of a journal."""

    directory: Path
    """Where they lie on this machine."""
    stores: Sequence[str]
    """Where else they are kept: the home first, then the mirrors. None when the home is gone without."""

    def create(self, run: str, plan: bytes, environment: str, who: str, seal: Seal = unsealed) -> Journal:
        """A new, empty journal, and the lock of its environment. All of it is durable when this returns.

        Raises:
            EnvironmentHeld: another run on the environment has not ended.
            JournalUnwritable, HomeUnreachable: there is no place to record it; no run was started.
        """
        ...

    def resume(self, stored: StoredRun, who: str, seal: Seal = unsealed) -> tuple[Journal, Torn | None]:
        """Take a run over from whoever had it, as `StoredRun.resume` does.

        Raises:
            EnvironmentHeld: another run has the environment.
            JournalHeld, JournalBroken, JournalUnwritable, HomeUnreachable
        """
        ...

    def leave(self, journal: Journal, *, ended: bool) -> None:
        """This process is done with the run; with `ended`, so is everybody. Raises nothing: the run is what counts."""
        ...

    def runs(self) -> tuple[StoredRun, ...]:
        """All runs, oldest first."""
        ...

    def find(self, name: str) -> StoredRun:
        """The run of that name, or of the only name that begins with it; `latest` is the newest.

        Raises:
            NoSuchRun: none or several fit.
        """
        ...

    def caller(self) -> str:
        """Who this process is for the journal's home; empty when there is none, or it cannot be known."""
        ...

    def compare(self, stored: StoredRun) -> Sequence[Comparison]:
        """Hold each copy of a verified run against the local one. Of a live run nothing counts as missing.

        Raises:
            HomeUnreachable: the home cannot be read.
        """
        ...

    def compare_ledger(self) -> Comparison | None:
        """Hold the home's ledger against its runs; None where there is no home.

        Raises:
            HomeUnreachable: the home cannot be read.
        """
        ...

    def sync(self, stored: StoredRun) -> Sequence[str]:
        """Make all copies of a run equal; what was done, and what could not be.

        Raises:
            HomeUnreachable: the home cannot be reached.
            JournalHeld: a process is at work on the run, and keeps its copies itself.
            JournalBroken: the run does not verify, or its copies differ.
        """
        ...


class HereBook:
    """The book of a journal that has no home but the local directory."""

    def __init__(self, local: LocalBook, *, take_over: bool = False) -> None:
        self.directory = local.directory
        self.stores: Sequence[str] = ()
        self._local = local
        self._take_over = take_over
        self._leases = Leases(local.directory, take_over=take_over)

    def create(self, run: str, plan: bytes, environment: str, who: str, seal: Seal = unsealed) -> Journal:
        with created(self._local, run, plan, who, seal) as journal:
            self._leases.take_here(journal, environment, who, partial(self._is_over, evict=self._take_over))
        if not self._leases.evicted:
            return journal
        from dr.audit.replicas import ReplicatedJournal  # with threads and logging, for nothing but the notice

        return ReplicatedJournal(journal, None, (), self._leases.evicted)

    def resume(self, stored: StoredRun, who: str, seal: Seal = unsealed) -> tuple[Journal, Torn | None]:
        environment = begun(stored)[0].environment
        journal, torn = stored.resume(who, seal)
        try:
            self._leases.take_here(journal, environment, who, partial(self._is_over, evict=False))
        except BaseException:
            journal.close()
            raise
        return journal, torn

    def leave(self, journal: Journal, *, ended: bool) -> None:
        self._leases.let_go(ended=ended)
        journal.close()

    def runs(self) -> tuple[StoredRun, ...]:
        return self._local.runs()

    def find(self, name: str) -> StoredRun:
        return self._local.find(name)

    def caller(self) -> str:
        return ""

    def compare(self, stored: StoredRun) -> Sequence[Comparison]:
        return ()

    def compare_ledger(self) -> Comparison | None:
        return None

    def sync(self, stored: StoredRun) -> Sequence[str]:
        return ()

    def _is_over(self, run: str, *, evict: bool) -> bool:
        return self._leases.is_over_here(StoredRun(self.directory / "runs" / run), evict=evict)


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

    def is_over_here(self, stored: StoredRun, *, evict: bool) -> bool:
        """As `is_over_here`; with `evict` also if the operator says: nobody goes on with it (and nobody here does)."""
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
        """Take the lock of an environment at home; who it was taken from, if anybody still had it."""
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
        """Let go of everything, except in a store that has just failed; what went wrong."""
        taken, self._taken = self._taken, []
        wrong = []
        for store, lease in taken:
            if store is not unless:
                try:
                    lock.let_go(store, lease, iso(time.time()), ended=ended)
                except NOT_STORED as error:
                    wrong.append(f"the lock of {lease.environment} was not released in {store.name}: {error}")
        return wrong


@contextlib.contextmanager
def created(local: LocalBook, run: str, plan: bytes, who: str, seal: Seal) -> Iterator[LocalJournal]:
    """A new journal in the local directory, taken away again if anything else that it needs cannot be had."""
    journal = local.create(run, plan, who, seal)
    try:
        yield journal
    except BaseException:
        shutil.rmtree(journal.directory, ignore_errors=True)
        journal.close()
        raise


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
