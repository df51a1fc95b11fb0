"""How a run comes into a store: begun there, brought up to date, ended; or shut out before it began."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from dr.audit import ledger, lock
from dr.audit.agreement import agree
from dr.audit.chain import EMPTY, Head, link
from dr.audit.copies import NOT_STORED, Copy, deliver, entries_key, fetch, plan_key
from dr.audit.journal import LocalJournal
from dr.audit.replicas import HOME_WITHIN, MIRROR_WITHIN, Mirror, in_time, somebody_else, unreachable
from dr.audit.store import Store, Taken
from dr.core.events import Entry, TakenOver, encode_entry
from dr.core.plan import digest
from dr.core.timestamp import iso
from dr.errors import HomeUnreachable


@contextmanager
def asking(run: str) -> Iterator[None]:
    """Turn a home's refusal into the error of a run that cannot go on."""
    try:
        yield
    except Taken as error:
        raise somebody_else(run, error) from None
    except NOT_STORED as error:
        raise unreachable(run, error) from None


@contextmanager
def reading() -> Iterator[None]:
    """The same for what only reads."""
    try:
        yield
    except NOT_STORED as error:
        raise HomeUnreachable(
            f"the journal's home cannot be read: {error}",
            stands="nothing was touched; the local copy could be verified, the home not",
            hint="again when it can be reached",
        ) from None


def adopt(local: LocalJournal, here: Copy, whole: Copy) -> None:
    """Append what is known of a run elsewhere to its local copy."""
    local.adopt(whole.lines[local.head.size :], [mark for mark in whole.marks if mark not in here.marks])


def begin(home: Store, run: str, plan: bytes, who: str) -> None:
    """Store the plan of a run, then tell the ledger that it was started. Its entries come after both."""
    home.create(plan_key(run), plan, within=HOME_WITHIN)

    def line(head: Head) -> ledger.Line:
        return ledger.Line(
            prev=head.hash, seq=head.size, run=run, what="started", plan=digest(plan), at=iso(time.time()), who=who
        )

    ledger.write(home, line)


def bring(home: Store, run: str, whole: Copy, there: Copy, who: str) -> None:
    """Bring the copy at home up to date with all that is known of the run."""
    if not there.lines and not _knows(home, run, "started"):
        begin(home, run, whole.plan, who)
        there = msgspec.structs.replace(there, plan=whole.plan)
    deliver(home, run, whole, there, within=HOME_WITHIN)


def _knows(home: Store, run: str, what: str) -> bool:
    """Whether the ledger knows that of a run."""
    lines, _ = ledger.read(home)
    return any((line.run, line.what) == (run, what) for line in lines)


def write_ended(home: Store, run: str, head: Head, who: str) -> None:
    """Tell the ledger that a run has ended, and where."""

    def line(last: Head) -> ledger.Line:
        return ledger.Line(
            prev=last.hash,
            seq=last.size,
            run=run,
            what="ended",
            size=head.size,
            head=head.hash,
            at=iso(time.time()),
            who=who,
        )

    ledger.write(home, line)


def end(home: Store, run: str, head: Head, who: str, environment: str) -> None:
    """See to it that the home knows of the end of a run: the ledger, and the lock of the environment."""
    if not _knows(home, run, "ended"):
        write_ended(home, run, head, who)
    last = lock.newest(home, environment)
    if last is not None and last.holder.run == run and not last.free:
        lock.let_go(home, lock.Lease(environment=environment, number=last.number), iso(time.time()), ended=True)


def shut_out(home: Store, run: str, lines: Sequence[bytes]) -> bool:
    """Take the number of a run's next entry, so that its process stops there; False when it was faster.

    Of a run without entries this is the first one, and it never begins.
    """
    head = link(Head(len(lines) - 1, ""), lines[-1]) if lines else EMPTY
    event = TakenOver(holder="whoever had the run")
    entry = Entry(prev=head.hash, seq=head.size, run=run, at=iso(time.time()), actor="dr", event=event)
    try:
        home.create(entries_key(run, head.size), encode_entry(entry) + b"\n", within=HOME_WITHIN)
    except Taken:
        return False
    return True


def catch_up(store: Store, run: str, whole: Copy, within: float = MIRROR_WITHIN) -> str:
    """Bring a mirror up to date; why it is still behind, empty when it is not."""

    def bring_up() -> None:
        there = fetch(store, run)
        agree(run, (whole, there))
        deliver(store, run, whole, there, within=within)

    mirror = Mirror(store)
    in_time(mirror, mirror.ask(bring_up), within)
    mirror.close()
    return mirror.late
