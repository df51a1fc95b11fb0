"""One journal in several places: the local file, its home in a store, and mirrors.

An entry counts when it is on the local disk and at home; nothing about a step happens before (safety rule 1). The home is the
fence: its create-only put decides whose an entry's number is (safety rule 7). Mirrors get the same objects with a deadline of
their own; one that is late is left behind, which is said, and catches up when the run is gone on with or synced.

In a store a run is

    runs/<run>/plan.json               created once
               entries/<seq>.jsonl     the lines of one append, under the number of the first of them
               checkpoints/<size>.json
"""

import queue
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late

import msgspec

from dr.audit.journal import Draft, LocalJournal
from dr.audit.store import FateUnknown, Store, StoreRefused, StoreUnreachable, Taken
from dr.core.events import CopyLate, Entry, Event, encode_entry
from dr.errors import HomeUnreachable, JournalHeld

HOME_WITHIN = 15.0
"""Seconds in which the home must have taken an entry; then its fate is unknown and the run stops (safety rule 8)."""
MIRROR_WITHIN = 2.0
"""Seconds that a mirror may hold up a run, once."""
SIDE_BY_SIDE = 32
"""Objects that are read at the same time."""
LINES_AT_ONCE = 500
"""Lines in an object when a copy catches up."""

NOT_STORED = (FateUnknown, StoreUnreachable, StoreRefused)


def plan_key(run: str) -> str:
    return f"runs/{run}/plan.json"


def entries_prefix(run: str) -> str:
    return f"runs/{run}/entries/"


def entries_key(run: str, seq: int) -> str:
    """Ten digits, so that keys sort as numbers do."""
    return f"{entries_prefix(run)}{seq:010d}.jsonl"


class Mirror:
    """A copy that gets the objects of a run in their order, from a thread of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.late = ""
        """Why it was left behind; empty while it keeps up."""
        self._offered: queue.SimpleQueue[tuple[str, bytes, Future[None]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"mirror {store.name}", daemon=True).start()

    def offer(self, key: str, data: bytes) -> Future[None]:
        future: Future[None] = Future()
        self._offered.put((key, data, future))
        return future

    def close(self) -> None:
        self._offered.put(None)

    def _work(self) -> None:
        while (offered := self._offered.get()) is not None:
            key, data, future = offered
            if self.late:  # an object must not follow a gap: it is caught up in order, later
                future.set_exception(StoreUnreachable(self.late))
                continue
            try:
                self.store.create(key, data, within=MIRROR_WITHIN)
                future.set_result(None)
            except (*NOT_STORED, Taken) as error:
                future.set_exception(error)


class ReplicatedJournal:
    """The `Journal` of a run with a home and mirrors."""

    def __init__(self, local: LocalJournal, home: Store | None, mirrors: Iterable[Store]) -> None:
        self.run = local.run
        self._local = local
        self._home = home
        self._mirrors = [Mirror(store) for store in mirrors]
        self._notices: list[Event] = []

    def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        entries = self._local.append(drafts)
        data = b"".join(encode_entry(entry) + b"\n" for entry in entries)
        self._put(entries_key(self.run, entries[0].seq), data)
        return entries

    def notices(self) -> tuple[Event, ...]:
        """What has happened to the copies since the last call; the engine makes entries of it."""
        told, self._notices = tuple(self._notices), []
        return told

    def checkpoint(self, at: str, actor: str) -> None:
        mark = self._local.checkpoint(at, actor)
        self._put(f"runs/{self.run}/checkpoints/{mark.size:010d}.json", msgspec.json.encode(mark))

    def close(self) -> None:
        for mirror in self._mirrors:
            mirror.close()
        self._local.close()

    def _put(self, key: str, data: bytes) -> None:
        """Home and mirrors side by side; only the home decides."""
        offers = [(mirror, mirror.offer(key, data)) for mirror in self._mirrors if not mirror.late]
        if self._home is not None:
            put_home(self.run, self._home, key, data)
        for mirror, offer in offers:
            self._await(mirror, offer)

    def _await(self, mirror: Mirror, offer: Future[None]) -> None:
        try:
            offer.result(timeout=MIRROR_WITHIN)
        except (*NOT_STORED, Taken, Late) as error:
            mirror.late = str(error) or f"no answer within {MIRROR_WITHIN:g} s"
            self._notices.append(CopyLate(copy=mirror.store.name, why=mirror.late))


def put_home(run: str, home: Store, key: str, data: bytes) -> None:
    """Put an object where it decides.

    Raises:
        JournalHeld: somebody else has written under this number; this process must not go on.
        HomeUnreachable: it is not there, or nobody knows; nothing was touched since the entry before it.
    """
    try:
        home.create(key, data, within=HOME_WITHIN)
    except Taken:
        raise JournalHeld(
            f"another process has written to the journal of {run}: {key} is taken",
            stands="this process has stopped and touches nothing further",
            hint=f"dr audit verify {run}",
        ) from None
    except NOT_STORED as error:
        unknown = " (it may have been stored; the next start looks)" if isinstance(error, FateUnknown) else ""
        raise HomeUnreachable(
            f"the journal's home cannot be written: {error}{unknown}",
            stands="stopped before the next effect; the local journal has everything that was recorded",
            hint=f"dr resume {run}   (without its home: add --without-home REASON)",
        ) from None


def fetch(store: Store, run: str) -> list[bytes]:
    """The raw lines of a run as the store has them, first versions only. Judged by nobody yet.

    Raises:
        StoreUnreachable, StoreRefused
    """
    objects = list(store.list(entries_prefix(run)))
    with ThreadPoolExecutor(SIDE_BY_SIDE, "fetch") as pool:
        return [line for data in pool.map(store.read, objects) for line in data.split(b"\n") if line]


def deliver(store: Store, run: str, plan: bytes, lines: Sequence[bytes], *, have: int) -> None:
    """Bring a copy up to date: the plan if it has nothing, and the lines from number `have` on, in their order.

    Raises:
        Taken: the copy holds something else under one of the keys.
        FateUnknown, StoreUnreachable, StoreRefused
    """
    if have == 0:
        store.create(plan_key(run), plan, within=HOME_WITHIN)
    for seq in range(have, len(lines), LINES_AT_ONCE):
        data = b"".join(line + b"\n" for line in lines[seq : seq + LINES_AT_ONCE])
        store.create(entries_key(run, seq), data, within=HOME_WITHIN)


def agreed(copies: Sequence[Sequence[bytes]]) -> int:
    """How many lines all copies agree on, counted over those that have that many: the first place where two differ.

    A copy that is merely shorter does not disagree. When none differ it is the length of the longest.
    """
    longest = max(copies, key=len, default=())
    for seq, line in enumerate(longest):
        if any(copy[seq] != line for copy in copies if len(copy) > seq):
            return seq
    return len(longest)
