"""One journal in several places: the local file, its home in a store, and mirrors.

An entry counts when it is on the local disk and at home; nothing about a step happens before (safety rule 1). The home
is the fence: its create-only put decides whose an entry's number is (safety rule 7). Mirrors get the same objects, with
a deadline of their own; one that is late is left behind, which is said, and catches up when the run is gone on with,
when this process is done with it, and by `dr audit sync`.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as Late
from typing import TypeVar

from dr.audit.chain import joined
from dr.audit.copies import NOT_STORED, checkpoint_key, entries_key
from dr.audit.journal import Draft, LocalJournal
from dr.audit.store import FateUnknown, Store, Taken
from dr.audit.stored import StoredRun
from dr.core.events import CopyLate, Entry, Event, encode_entry
from dr.errors import HomeUnreachable, JournalBroken, JournalHeld, JournalUnreadable, JournalUnwritable

T = TypeVar("T")

HOME_WITHIN = 15.0
"""Seconds in which the home must have taken an object; then its fate is unknown and the run stops (safety rule 8)."""
MIRROR_WITHIN = 2.0
"""Seconds that a mirror may hold up a run, once."""


class Mirror:
    """A copy that gets the objects of a run in their order, from a thread of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.late = ""
        """Why it was left behind; empty while it keeps up."""
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"mirror {store.name}", daemon=True).start()

    def offer(self, key: str, data: bytes) -> Future[None]:
        """Have an object stored after those before it. An object never follows a gap: that one is caught up first."""
        return self.ask(lambda: self.store.create(key, data, within=MIRROR_WITHIN))

    def ask(self, work: Callable[[], T]) -> Future[T]:
        """Have something done in the mirror's thread, so that only this waits when it hangs."""
        future: Future[T] = Future()

        def done() -> None:
            if self.late:
                future.cancel()
                return
            try:
                future.set_result(work())
            except (*NOT_STORED, Taken, JournalBroken, JournalUnreadable) as error:
                self.late = str(error)
                future.set_exception(error)

        self._queue.put(done)
        return future

    def close(self) -> None:
        self._queue.put(None)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work()


def in_time(mirror: Mirror, future: Future[T], within: float = MIRROR_WITHIN) -> T | None:
    """What the mirror brings; None when it fails or is late, and from then on it is left behind."""
    try:
        return future.result(timeout=within)
    except Late:
        mirror.late = f"no answer within {within:g} s"
    except (*NOT_STORED, Taken, JournalBroken, JournalUnreadable, CancelledError):
        pass  # the mirror's thread has noted why
    return None


class ReplicatedJournal:
    """The `Journal` of a run with a home and mirrors."""

    def __init__(
        self, local: LocalJournal, home: Store | None, mirrors: Sequence[Mirror] = (), notices: Sequence[Event] = ()
    ) -> None:
        self.run = local.run
        self.local = local
        self.home = home
        """None: the run goes on without it, because the operator said so or it has just failed."""
        self.mirrors = mirrors
        self.taken = False
        """Whether another process has the run now."""
        self._told_late: list[Mirror] = []
        self._notices = list(notices)

    def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        entries = self.local.append(drafts)
        data = joined(map(encode_entry, entries))
        try:
            self.put(entries_key(self.run, entries[0].seq), data)
        except JournalHeld:
            with contextlib.suppress(JournalUnwritable):  # they were nobody's: nothing was done on the strength of them
                self.local.cut(entries[0].seq)
            self.local.close()
            self.home, self.taken = None, True
            raise
        return entries

    def notices(self) -> Sequence[Event]:
        told, self._notices = self._notices, []
        return told

    def checkpoint(self, at: str, actor: str) -> None:
        self.local.checkpoint(at, actor)
        line = StoredRun(self.local.directory).checkpoint_lines()[-1]
        self.put(checkpoint_key(self.run, line), line)

    def close(self) -> None:
        for mirror in self.mirrors:
            mirror.close()
        self.local.close()

    def put(self, key: str, data: bytes) -> None:
        """Home and mirrors side by side; only the home decides.

        Raises:
            JournalHeld, HomeUnreachable: as `put_home`; this journal takes no more.
        """
        offers = [(mirror, mirror.offer(key, data)) for mirror in self.mirrors if not mirror.late]
        if self.home is not None:
            try:
                put_home(self.run, self.home, key, data)
            except HomeUnreachable:
                self.home = None
                self.local.close()
                raise
        for mirror, offer in offers:
            in_time(mirror, offer)
        for mirror in self.mirrors:
            if mirror.late and mirror not in self._told_late:
                self._told_late.append(mirror)
                self._notices.append(CopyLate(copy=mirror.store.name, why=mirror.late))


def put_home(run: str, home: Store, key: str, data: bytes) -> None:
    """Put an object where it decides.

    Raises:
        JournalHeld: somebody else has written under this number; this process must not go on.
        HomeUnreachable: it was not stored, or nobody knows whether it was; nothing was touched since the entry before.
    """
    try:
        home.create(key, data, within=HOME_WITHIN)
    except Taken as error:
        raise somebody_else(run, error) from None
    except NOT_STORED as error:
        raise unreachable(run, error) from None


def somebody_else(run: str, error: Taken) -> JournalHeld:
    """The error of a process that has found another one's entry under its own number."""
    return JournalHeld(
        f"another process has written to the journal of {run}: {error}",
        stands="this process has stopped and touches nothing further",
        hint=f"dr audit verify {run}",
    )


def unreachable(run: str, error: Exception) -> HomeUnreachable:
    """The error of a run whose home does not do what is asked."""
    unknown = " (it may have been stored; the next start looks)" if isinstance(error, FateUnknown) else ""
    return HomeUnreachable(
        f"the journal's home cannot be reached: {error}{unknown}",
        stands="stopped before the next effect; the local journal has everything that was recorded",
        hint=f"dr resume {run}   (without its home: add --without-home REASON)",
    )
