"""The book of all runs, from which they are started and gone on with: what it is, and that of a local directory.

The book of a journal that also has a home in a store is `dr.audit.home`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from dr.audit.book import LocalBook
from dr.audit.chain import Seal, unsealed
from dr.audit.comparison import Comparison
from dr.audit.journal import Journal
from dr.audit.leases import Leases
from dr.audit.replay import begun
from dr.audit.stored import StoredRun, Torn


class Book(Protocol):
    """All runs of a journal."""

    directory: Path
    """Where they lie on this machine."""
    stores: Sequence[str]
    """Where else they are kept: the home first, then the mirrors. Empty where none is used."""

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
    """The `Book` of a journal that has no home but the local directory."""

    def __init__(self, local: LocalBook, *, take_over: bool = False) -> None:
        self.directory = local.directory
        self.stores: Sequence[str] = ()
        self._local = local
        self._take_over = take_over
        self._leases = Leases(local.directory, take_over=take_over)

    def create(self, run: str, plan: bytes, environment: str, who: str, seal: Seal = unsealed) -> Journal:
        with self._local.creating(run, plan, who, seal) as journal:
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
        return self._leases.is_over_or_evicted(self._local.stored(run), evict=evict)
