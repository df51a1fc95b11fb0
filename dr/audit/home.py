"""The book of a journal whose home is a store: the local directory has a copy of each run, the home decides.

Everybody who reads (show, verify, report) reads the local copy. What is not here is fetched first, and that is how
another machine goes on with a run. Before a run is gone on with, its copies are made equal, or it is said where they
differ.
"""

import contextlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from dr.audit import ledger
from dr.audit.agreement import Rulings, agree, copy_name
from dr.audit.book import LocalBook, choose
from dr.audit.chain import Seal, joined, unsealed
from dr.audit.comparison import Comparison, compare, compare_ledger
from dr.audit.copies import (
    HERE,
    NOT_STORED,
    Copy,
    deliver,
    entries_key,
    entries_prefix,
    fetch,
    local_copy,
    plan_key,
    store_whole,
    whole_key,
    write_copy,
)
from dr.audit.delivery import adopt, asking, begin, bring, catch_up, end, reading, shut_out, write_ended
from dr.audit.journal import Journal, LocalJournal
from dr.audit.leases import Leases, is_over
from dr.audit.replay import begun
from dr.audit.replicas import HOME_WITHIN, MIRROR_WITHIN, Mirror, ReplicatedJournal, in_time
from dr.audit.store import Store
from dr.audit.stored import StoredRun, Torn
from dr.core.events import CopyTrusted, Event, HomeLeft, TakenOver
from dr.errors import HomeUnreachable, JournalBroken, JournalHeld, JournalUnreadable, JournalUnwritable

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""What a run that is fetched from a store may be called here: whoever may put objects there could have called one `..`.
Of others `compare_ledger` says that nobody has begun them."""
MIRROR_READ_WITHIN = 5.0
"""Seconds in which a mirror must have told what it holds, before a run is gone on with."""
SYNC_WITHIN = 60.0
"""Seconds that a mirror may take to catch up when somebody waits for just that."""
CALLER_WITHIN = 3.0
"""Seconds in which AWS must have said who this is."""


class HomeBook:
    """All runs of a home and of the local directory (`dr.audit.here.Book`)."""

    def __init__(
        self, local: LocalBook, home: Store, mirrors: Sequence[Store], rulings: Rulings, warn: Callable[[str], None]
    ) -> None:
        self.directory = local.directory
        self.home = home
        self.mirrors = mirrors
        self.stores: Sequence[str] = () if rulings.without_home else [store.name for store in (home, *mirrors)]
        self._local = local
        self._rulings = rulings
        self._warn = warn
        self._away = False
        """Whether the home did not answer when it was asked for its runs."""
        self._leases = Leases(local.directory, take_over=rulings.take_over)

    @property
    def _used(self) -> Store | None:
        """The home; None when the operator goes on without it."""
        return None if self._rulings.without_home else self.home

    def create(self, run: str, plan: bytes, environment: str, who: str, seal: Seal = unsealed) -> Journal:
        try:
            with self._local.creating(run, plan, who, seal) as local:
                self._take_locks(local, environment, who, partial(self._is_over, evict=self._rulings.take_over))
                if self._used is not None:
                    with asking(run):
                        begin(self._used, run, plan, who)
        except BaseException as error:
            self._let_go(error, ended=True)
            if not isinstance(error, HomeUnreachable):
                raise
            raise HomeUnreachable(
                error.what,
                stands="nothing was touched; no run was started",
                hint="mend it, or start without the journal's home: --without-home REASON",
            ) from None
        mirrors = [Mirror(store) for store in self.mirrors]
        for mirror in mirrors:
            mirror.offer(plan_key(run), plan)
        notices = [*self._leases.evicted, *self._left_home()]
        return ReplicatedJournal(local, self._used, mirrors, notices)

    def resume(self, stored: StoredRun, who: str, seal: Seal = unsealed) -> tuple[Journal, Torn | None]:
        environment = begun(stored)[0].environment
        local, torn = stored.resume(who, seal)
        mirrors = [Mirror(store) for store in self.mirrors]
        try:
            taken_from = self._take_locks(local, environment, who, partial(self._is_over, evict=False))
            ruled = self._make_equal(local, mirrors, who)
        except BaseException as error:
            self._let_go(error, ended=False)
            ReplicatedJournal(local, None, mirrors).close()
            raise
        notices: list[Event] = [TakenOver(holder=taken_from)] if taken_from else []
        return ReplicatedJournal(local, self._used, mirrors, [*notices, *self._left_home(), *ruled]), torn

    def leave(self, journal: Journal, *, ended: bool) -> None:
        assert isinstance(journal, ReplicatedJournal)
        if journal.taken:
            self._leases.let_go(ended=False, unless=self.home)
            journal.close()
            return
        stored, home = StoredRun(journal.local.directory), journal.home
        wrong = []
        if ended and home is not None:
            try:
                write_ended(home, journal.run, journal.local.head, stored.holder())
            except NOT_STORED as error:
                wrong.append(f"the end of {journal.run} is not in the ledger: {error}")
        wrong += self._leases.let_go(ended=ended, unless=None if home is not None else self.home)
        for mirror in journal.mirrors:
            if mirror.late and (late := catch_up(mirror.store, journal.run, local_copy(stored))):
                wrong.append(f"the mirror {mirror.store.name} is behind: {late}")
        if ended:
            with suppress(HomeUnreachable, JournalHeld, JournalBroken, JournalUnreadable):  # nothing depends on it
                journal.put(whole_key(journal.run), joined(stored.raw()))
        journal.close()
        if home is None:
            wrong.append(f"{self.home.name} has not heard of everything in {journal.run}")
        for what in wrong:
            self._warn(f"{what}; later: dr audit sync {journal.run}")

    def runs(self) -> tuple[StoredRun, ...]:
        here, elsewhere = self._known()
        for run in elsewhere:
            if run not in here:
                self._fetch(run)
            elif not is_over(tuple(self._local.stored(run).raw())):
                self._refresh(self._local.stored(run))
        return self._local.runs()

    def find(self, name: str) -> StoredRun:
        stored = self._local.stored(name)
        if not name or Path(name).name != name or not stored.exists():
            here, elsewhere = self._known()
            run = choose(name, sorted(here.union(elsewhere)), f"{self.directory} and {self.home.name}")
            stored = self._local.find(run) if run in here else self._fetch(run)
        self._refresh(stored)
        return stored

    def caller(self) -> str:
        return "" if self._used is None else self._used.caller(within=CALLER_WITHIN)

    def compare(self, stored: StoredRun) -> Sequence[Comparison]:
        live, here = stored.is_held(), local_copy(stored)
        with reading():
            found = [compare(stored.run, here, fetch(self.home, stored.run, here.lines))]
        for store in self.mirrors:
            try:
                found.append(compare(stored.run, here, fetch(store, stored.run, here.lines)))
            except NOT_STORED as error:
                found.append(Comparison(where=store.name, missing=(f"it cannot be read: {error}",)))
        return [msgspec.structs.replace(copy, missing=()) for copy in found] if live else found

    def compare_ledger(self) -> Comparison | None:
        with reading():
            lines, wrong = ledger.read(self.home)
            runs = {run: fetch(self.home, run) for run in self.home.folders("runs/")}
            return compare_ledger(self.home.name, lines, wrong, self.home.list(ledger.LEDGER), runs)

    def sync(self, stored: StoredRun) -> Sequence[str]:
        run = stored.run
        if stored.verify()[1] is not None:
            return [f"nothing: the run ends in an unfinished entry, which `dr resume {run}` settles"]
        with contextlib.closing(stored.resume(stored.holder())[0]) as local, asking(run):
            here = local_copy(stored)
            copies = [here, fetch(self.home, run, here.lines)]
            whole = agree(run, copies).whole
            adopt(local, copies[0], whole)
            bring(self.home, run, whole, copies[1], stored.holder())
            if is_over(whole.lines):
                end(self.home, run, local.head, stored.holder(), begun(stored)[0].environment)
                store_whole(self.home, run, whole.lines, within=HOME_WITHIN)
        said = [f"{self.home.name} has all {len(whole.lines)} entries"]
        for store in self.mirrors:
            late = catch_up(store, run, whole, SYNC_WITHIN)
            said.append(
                f"{store.name} is behind: {late}" if late else f"{store.name} has all {len(whole.lines)} entries"
            )
        return said

    def _refresh(self, stored: StoredRun) -> None:
        """Bring the local copy up to date with a run that went on elsewhere.

        Where that cannot be had, or differs, the local copy stays as it is, and the operator is warned.
        """
        if self._used is None or self._away or stored.is_held():
            return
        try:
            if stored.verify()[1] is not None:
                return  # what a crash has left is for `resume` to settle, in an entry
            have = sum(1 for _ in stored.raw())
            last = entries_key(stored.run, have - 1) if have else ""
            if not any(True for _ in self._used.list(entries_prefix(stored.run), after=last)):
                return
            here = local_copy(stored)
            whole = agree(stored.run, [here, fetch(self._used, stored.run, here.lines)]).whole
            with contextlib.closing(stored.resume(stored.holder())[0]) as local:
                adopt(local, here, whole)
        except (*NOT_STORED, JournalBroken, JournalHeld, JournalUnreadable, JournalUnwritable) as error:
            self._warn(f"{error}; what is said about {stored.run} is as the local copy has it")

    def _let_go(self, error: BaseException, *, ended: bool) -> None:
        """Let go of every lock; not at a home that has just failed, which would only fail again, and late."""
        self._leases.let_go(ended=ended, unless=self.home if isinstance(error, HomeUnreachable) else None)

    def _left_home(self) -> Sequence[Event]:
        return [HomeLeft(reason=self._rulings.without_home)] if self._rulings.without_home else []

    def _take_locks(self, local: LocalJournal, environment: str, who: str, is_over: Callable[[str], bool]) -> str:
        """The local lock and the one at home; who had not let go of that, if anybody."""
        self._leases.take_here(local, environment, who, is_over)
        if self._used is None:
            return ""
        with asking(local.run):
            return self._leases.take_at(self._used, local, environment, who, is_over)

    def _is_over(self, run: str, *, evict: bool) -> bool:
        """Whether a run has ended, or never began and is shut out from now on; with `evict`, so is one that began."""
        here = self._local.stored(run)
        if self._used is None:
            return self._leases.is_over_or_evicted(here, evict=evict)
        if here.is_held():
            return False
        if here.exists() and is_over(lines := tuple(here.raw())) and lines:
            return True
        there = fetch(self._used, run)
        if there.lines and is_over(there.lines):
            return True
        if there.lines and not evict:
            return False
        out = there.behind_gap is None and shut_out(self._used, run, there.lines)
        if out and there.lines:
            self._leases.note_evicted(run)
        return out

    def _known(self) -> tuple[set[str], Sequence[str]]:
        """The names of the runs here, and of those elsewhere.

        Raises:
            HomeUnreachable: there is none here, and no store could be asked whether there are any elsewhere.
        """
        here, elsewhere = {found.run for found in self._local.runs()}, self._elsewhere()
        if not here and elsewhere is None:
            raise HomeUnreachable(
                f"neither {self.home.name} nor a mirror can be read, and there is no run in {self.directory}",
                stands="nothing was touched",
                hint="mend it, then: dr runs",
            )
        return here, elsewhere or ()

    def _elsewhere(self) -> Sequence[str] | None:
        """The names of the runs at home; when that cannot be asked, of those in a mirror; None when nobody can be."""
        for store in (self._used, *self.mirrors):
            if store is not None:
                try:
                    return sorted(run for run in store.folders("runs/") if RUN_NAME.fullmatch(run))
                except NOT_STORED as error:
                    self._away = True
                    self._warn(f"{error}; what is said about runs is as the other copies have it")
        return None

    def _fetch(self, run: str) -> StoredRun:
        """Bring a run here that is only elsewhere."""
        copies: list[Copy] = []
        for store in (self._used, *self.mirrors):
            if store is not None and not copies:
                with suppress(*NOT_STORED):
                    copies.append(fetch(store, run))
        if not copies:
            raise HomeUnreachable(f"the run {run} could not be fetched", stands="nothing was touched", hint="dr runs")
        write_copy(self._local.stored(run).directory, copies[0])
        return self._local.find(run)

    def _make_equal(self, local: LocalJournal, mirrors: Sequence[Mirror], who: str) -> list[Event]:
        """Make all copies of a run equal that can be reached; what was ruled to get there."""
        run, used = local.run, self._used
        asked = [(mirror, mirror.ask(partial(fetch, mirror.store, run))) for mirror in mirrors]
        copies = [local_copy(StoredRun(local.directory))]
        if used is not None:
            with asking(run):
                copies.append(fetch(used, run))
        for mirror, future in asked:
            there = in_time(mirror, future, MIRROR_READ_WITHIN)
            copies += [there] if there is not None else []
        trusted = copy_name(self._rulings.trust, self.home.name)
        agreement = agree(run, copies, trusted, fixed=self.home.name)
        whole = agreement.whole
        if HERE in agreement.against:
            local.cut(agreement.entry or 0)
        adopt(local, copies[0], whole)
        if used is not None:
            with asking(run):
                bring(used, run, whole, copies[1], who)
        for mirror in mirrors:
            if mirror.store.name in agreement.against:
                mirror.late = f"it has another entry {agreement.entry}"
            for there in copies:
                if there.where == mirror.store.name:
                    mirror.ask(partial(deliver, mirror.store, run, whole, there, within=MIRROR_WITHIN))
        if agreement.entry is None:
            return []
        return [CopyTrusted(copy=trusted, entry=agreement.entry, against=agreement.against)]
