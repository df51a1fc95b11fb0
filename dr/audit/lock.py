"""The lock of an environment: no two runs act on the same targets.

It is a row of objects in the store that is the journal's home, and in the local directory:

    locks/<environment>/<n>.json          a process of a run has taken the environment
                        <n>.closed.json   that process has let go, and whether its run has ended

The newest number decides. Taking it is creating the next number, which one process alone can do. It is free when the
run has ended; a run that has not ended keeps it, whoever goes on with it. No timer ends it, and nobody's silence: that
a process is dead is known on its own machine only, where its kernel lock is free; elsewhere the operator says it
(`--take-over`).
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from dr.audit.copies import number_of
from dr.audit.store import Stored, Taken
from dr.audit.stored import StoredRun
from dr.errors import EnvironmentHeld, JournalBroken, JournalHeld

LOCK_WITHIN = 15.0
"""Seconds in which the store must have taken a lock."""


class Objects(Protocol):
    """The part of a `Store` that locks need."""

    name: str

    def create(self, key: str, data: bytes, *, within: float) -> None: ...
    def read(self, stored: Stored) -> bytes: ...
    def list(self, prefix: str) -> Iterator[Stored]: ...


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A process that works on a run."""

    run: str
    who: str
    """In words: `pid 123 on host`."""
    host: str
    directory: str
    """Where its copy of the run lies."""
    at: str
    took_over: int | None = None
    """Number of the lock that it took from a process that had not let go."""


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """A process has let go."""

    ended: bool
    """Whether its run has ended: then the environment is free."""
    at: str


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """The newest lock of an environment."""

    number: int
    holder: Holder
    closed: Closed | None

    @property
    def free(self) -> bool:
        return self.closed is not None and self.closed.ended


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that this process has taken."""

    environment: str
    number: int
    taken_from: str = ""
    """Who had not let go of it."""


def newest(store: Objects, environment: str) -> Lock | None:
    """The newest lock; None when there never was one.

    Raises:
        StoreUnreachable, StoreRefused
        JournalBroken: it cannot be read.
    """
    objects = {item.key: item for item in store.list(f"locks/{environment}/") if item.version}
    number = max(map(number_of, objects), default=-1)
    if number < 0:
        return None
    key, closed_key = _key(environment, number), _closed_key(environment, number)
    try:
        holder = msgspec.json.decode(store.read(objects[key]), type=Holder)
        closed = objects.get(closed_key) and msgspec.json.decode(store.read(objects[closed_key]), type=Closed)
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalBroken(
            f"the lock of the environment {environment} cannot be read: {key} in {store.name}: {error!r}",
            stands="nothing was touched",
            hint="find out who wrote it; the environment is free when that object and its like are gone",
        ) from None
    return Lock(number=number, holder=holder, closed=closed or None)


def take(
    store: Objects,
    environment: str,
    holder: Holder,
    is_over: Callable[[str], bool],
    is_dead: Callable[[Holder], bool],
    *,
    take_over: bool = False,
) -> Lease:
    """Take an environment for a process of a run.

    Args:
        store: where the locks are.
        environment: its name.
        holder: the process.
        is_over: whether another run has ended, or cannot go on any more.
        is_dead: whether another process of the same run is known to be dead.
        take_over: the operator says that the process which has the run does nothing any more.

    Raises:
        EnvironmentHeld: another run has it.
        JournalHeld: another process of the same run has it.
        FateUnknown, StoreUnreachable, StoreRefused
    """
    last, taken_from = newest(store, environment), ""
    if last is not None and not last.free:
        if last.holder.run != holder.run:
            if not is_over(last.holder.run):
                raise _refusal(environment, last, holder.run)
        elif last.closed is None and not is_dead(last.holder):
            if not take_over:
                raise _refusal(environment, last, holder.run)
            taken_from = last.holder.who
            holder = msgspec.structs.replace(holder, took_over=last.number)
    number = 0 if last is None else last.number + 1
    try:
        store.create(_key(environment, number), msgspec.json.encode(holder), within=LOCK_WITHIN)
    except Taken:
        faster = newest(store, environment)
        assert faster is not None  # its object is what this one's was refused for
        raise _refusal(environment, faster, holder.run) from None
    return Lease(environment=environment, number=number, taken_from=taken_from)


def let_go(store: Objects, lease: Lease, at: str, *, ended: bool) -> None:
    """Say that this process has let go, and whether its run has ended. What was said first counts.

    Raises:
        FateUnknown, StoreUnreachable, StoreRefused
    """
    closed = msgspec.json.encode(Closed(ended=ended, at=at))
    with contextlib.suppress(Taken):
        store.create(_closed_key(lease.environment, lease.number), closed, within=LOCK_WITHIN)


def this_host() -> str:
    """The name of this machine."""
    return os.uname().nodename  # as socket.gethostname, for which alone many a run would load that module


def is_dead(holder: Holder, mine: Path) -> bool:
    """Whether a process is known to be dead: it was on this machine, and the kernel has taken its lock back.

    Args:
        holder: the process.
        mine: the copy of the run whose kernel lock this process has.
    """
    if holder.host != this_host():
        return False
    stored = StoredRun(Path(holder.directory))
    return stored.directory == mine or (stored.exists() and not stored.is_held())


def _is_at_work(holder: Holder) -> bool:
    """Whether a process is known to be alive: it is on this machine, and has the kernel's lock of its run."""
    stored = StoredRun(Path(holder.directory))
    return holder.host == this_host() and stored.exists() and stored.is_held()


def _refusal(environment: str, lock: Lock, run: str) -> EnvironmentHeld | JournalHeld:
    """The error of a process of `run` that finds another one in its place."""
    holder = lock.holder
    if holder.run == run:
        return JournalHeld(
            f"the run {run} is held by {holder.who}, since {holder.at}",
            stands="nothing was touched",
            hint=f"wait until that process has ended; if it is surely gone: dr resume {run} --take-over",
        )
    what = f"the run {holder.run} has not ended on the environment {environment}: taken {holder.at}, "
    stands = "nothing was touched; no run was started"
    if _is_at_work(holder):
        hint = f"dr show {holder.run}   (and wait until that process has ended)"
        return EnvironmentHeld(f"{what}{holder.who} is working on it", stands=stands, hint=hint)
    return EnvironmentHeld(
        what + ("no process works on it now" if lock.closed else f"last held by {holder.who}"),
        stands=stands,
        hint=f"dr show {holder.run}, then dr resume {holder.run}   (or dr rollback {holder.run}; "
        "if nobody can go on with it, add --take-over)",
    )


def _key(environment: str, number: int) -> str:
    return f"locks/{environment}/{number:010d}.json"


def _closed_key(environment: str, number: int) -> str:
    return f"locks/{environment}/{number:010d}.closed.json"
