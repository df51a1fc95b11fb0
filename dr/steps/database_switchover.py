"""`database.switchover`: the standby becomes the primary and no row is lost, while a pool makes the clients wait.

One step and not six, because what is between pausing the clients and letting them go must be short, and because one
question decides everything after a crash: can the standby have been asked to become primary? The answer is on the old
primary's disk. Until it is fenced the answer is no, and everything goes back; from then on it may be yes, and
everything goes forward (or the standby is shut down first, which ends a promotion that may be pending).
"""

from collections.abc import Callable, Iterable
from typing import Annotated, ClassVar, NoReturn

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, TargetRole, target
from dr.steps.roles.managed_cluster import ManagedSwitchover, of_cluster
from dr.targets.pools import Application, ConnectionPool
from dr.targets.protocols import Refused, TargetUnreachable
from dr.targets.switching import NOT_WRITABLE, RUNS_FENCED, DatabaseServer, ManagedCluster, Situation

EVERY = 0.05
"""Seconds between two looks at what takes its time."""


class NotReady(Exception):
    """The preflight found something; nothing was touched."""


class SwitchedBack(Exception):
    """It did not come to a promotion, and the old primary serves as before."""


class DatabaseSwitchover(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make the standby the primary, without losing a row, while the pool holds the clients.

    Everything is checked before anything is touched. What fails before the promotion puts the old primary back to work.
    Afterwards the old primary is down and fenced, or a standby: `database.reprotect` makes it follow.
    """

    kind: ClassVar[str] = "database.switchover"
    reversal: ClassVar[Reversal] = "undo"

    primary: Annotated[str, target(DatabaseServer)]
    """The server that is the primary now; with `cluster`, what that calls it."""
    standby: Annotated[str, target(DatabaseServer)]
    """The server that is to be the primary."""
    pool: Annotated[str, target(ConnectionPool)] | None = None
    """What holds the clients and takes them to the primary; this or `cluster`."""
    cluster: Annotated[str, target(ManagedCluster)] | None = None
    """The cluster that manages its roles itself: its manager is asked to change them, and takes the time it takes."""
    hold: Duration = duration("5s")
    """How long clients may be held. What is not ready for the promotion by then goes back."""
    ready_within: Duration = duration("10s")
    """How long the standby may take to stream, and to replay what is written now, before anything is touched."""
    cut_off: Annotated[tuple[Application, ...], msgspec.Meta(max_length=50)] = ()
    """Applications that reach the primary around the pool, and may be cut off from it."""

    def __post_init__(self) -> None:
        if self.primary == self.standby:
            raise ValueError("standby: it is the same server as the primary")
        if self.hold < 1:
            raise ValueError("hold: at least 1s, or an ordinary stop of the primary would be too slow for it")
        if (self.pool is None) == (self.cluster is None):
            raise ValueError("pool: write either `pool` or `cluster`")

    def roles(self) -> Iterable[tuple[str, TargetRole]]:
        """Members of a cluster are no targets of their own."""
        return of_cluster(super().roles()) if self.cluster else super().roles()

    def summary(self) -> str:
        if self.cluster:
            return f"Have {self.cluster} make {self.standby} the primary in the place of {self.primary}; no row is lost"
        kept = f"keeping the clients of {self.pool} waiting or out for at most {self.hold}"
        return f"Make {self.standby} the primary in the place of {self.primary}, {kept}; no row is lost"

    def takes(self) -> float:
        return 4 * self.hold + 2 * self.ready_within

    def preview(self, here: Here) -> Evidence:
        """How all parts stand, and what stands in the way."""
        change = self._change(here)
        return {**change.standing(), "in_the_way": change.obstacles()}

    def observe(self, here: Here) -> Observation:
        return self._change(here).look()

    def apply(self, here: Here) -> Evidence:
        return self._change(here).make()

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """The same change the other way round, with the same checks; before a promotion it only puts things back."""
        if self.cluster:
            ManagedSwitchover(here, self.cluster, self.primary, (self.standby,)).settled()
        if isinstance(self.observe_undone(here, before), InPlace):
            return {}
        return self._change(here, back=True).make()

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        change = self._change(here, back=True)
        standing = change.standing()
        if standing == before:
            return change.unmarked(standing) if isinstance(change, _Change) else InPlace(standing)
        return change.look()

    def _change(self, here: Here, *, back: bool = False) -> "_Change | ManagedSwitchover":
        old, new = (self.standby, self.primary) if back else (self.primary, self.standby)
        if self.cluster:
            return ManagedSwitchover(here, self.cluster, old, (new,))
        return _Change(self, here, old, new)


class _Change:
    """The change of roles from the server `old` to the server `new`."""

    def __init__(self, step: DatabaseSwitchover, here: Here, old: str, new: str) -> None:
        self._step = step
        self._here = here
        self._names = (old, new)
        self._old = here.reach(DatabaseServer, old)
        self._new = here.reach(DatabaseServer, new)
        assert step.pool is not None
        self._pool_name = step.pool
        self._pool = here.reach(ConnectionPool, step.pool)
        self._owner = f"{here.run}/{here.step}"
        self._took: dict[str, float] = {}

    def standing(self) -> dict[str, object]:
        """How the parts stand, by their names."""
        old, new = self._names
        pool = self._pool.state()
        clients = f"{'held before' if pool.paused else 'taken to'} {pool.server or 'none of the servers'}"
        return {old: self._old.situation(), new: self._new.situation(), self._pool_name: clients}

    def look(self) -> Observation:
        """In place: the new one takes writes, the old one cannot, and the clients are let through to the new one."""
        old, new = self._names
        seen = self.standing()
        done = seen[new] == "writable" and seen[old] in NOT_WRITABLE and seen[self._pool_name] == f"taken to {new}"
        return self.unmarked(seen) if done else NotInPlace(seen)

    def unmarked(self, seen: dict[str, object]) -> Observation:
        """In place, once no mark of this run is left: it would keep any later run from failing over."""
        left = [name for name, part in zip(self._names, (self._old, self._new), strict=True) if self._is_ours(part)]
        return NotInPlace({**seen, "findings": [f"this run's mark is still on {left[0]}"]}) if left else InPlace(seen)

    def make(self) -> Evidence:
        """Go on from wherever an earlier attempt was cut short, or begin."""
        self._old.take_over()
        self._new.take_over()
        old, new = self._old.situation(), self._new.situation()
        if old == new == "writable":
            raise NotReady(f"{' and '.join(self._names)} both take writes: fence one of them by hand, at once")
        if old != "writable" and new in RUNS_FENCED and self._is_ours(self._new):
            self._new.stop()  # somebody has started it since it was fenced
            new = "fenced"
        if new == "recovering":
            raise NotReady(f"{self._names[1]} runs, and answers no query yet")
        if new not in {"writable", "standby"} and self._is_ours(self._new):
            self.reinstate(old, new)
        elif new != "writable" and old in NOT_WRITABLE and self._is_ours(self._old):
            self._go_on(old, new)
        elif new != "writable":
            self._put_back(old)
            self._begin()
        self.settle()
        claim: dict[str, object] = {
            "milliseconds": {name: round(seconds * 1000, 1) for name, seconds in self._took.items()}
        }
        if "promote" in self._took:  # nobody is promoted before it has all that the old primary wrote to its end
            claim["lost_at_most_seconds"] = 0
        return claim

    def obstacles(self) -> list[str]:
        """Everything that stands in the way, found without changing anything."""
        step, (old, new) = self._step, self._names
        situations = {old: self._old.situation(), new: self._new.situation()}
        wrong = [
            f"{name} is {situations[name]}, not {wanted}"
            for name, wanted in ((old, "writable"), (new, "standby"))
            if situations[name] != wanted
        ]
        pool = self._pool.state()
        if pool.server != old or pool.paused:
            wrong.append(f"{self._pool_name} does not take the clients to {old}")
        if wrong:
            return wrong
        if not self._new.follows(self._old):
            wrong.append(f"{new} does not stream from {old}")
        wrong += [f"{old}: {why}" for why in self._old.obstacles("standby")]
        wrong += [f"{new}: {why}" for why in self._new.obstacles("primary")]
        wrong += [f"{self._pool_name}: {why}" for why in self._pool.obstacles()]
        backends = self._pool.backends(self._old)
        if (room := self._new.room()) < len(backends):
            wrong.append(f"{new} has room for {room} connections, the pool holds {len(backends)}")
        around = self._old.sessions_besides(backends, step.cut_off)
        wrong += [f"connected to {old} around the pool: {who}" for who in around]
        if (age := self._old.oldest_transaction()) > step.hold:
            wrong.append(f"a transaction on {old} is {age:.0f} s old, and clients may be held for {step.hold}")
        return wrong

    def _begin(self) -> None:
        """From the first check to the promotion."""
        self._await_streaming()
        if wrong := self.obstacles():
            raise NotReady("; ".join(wrong))
        self._within(self._step.ready_within)
        self._new.catch_up(self._old.position())
        self._within(self._here.remaining())
        self._old.checkpoint()
        self._new.checkpoint()
        self._old.claim(self._owner)
        self._old.prepare_stop()
        self._pool.prepare_repoint(self._names[1])
        self._within(self._step.hold)
        held, position = self._here.now(), list[int]()
        try:
            self._stage("pause", lambda: self._pool.pause(self._step.hold))
            self._stage("stop", lambda: position.append(self._old.stop_and_fence()))
            self._stage("catch up", lambda: self._new.catch_up(position[0]))
        except (TargetUnreachable, Refused) as error:
            self._give_up(error)
        self._within(self._here.remaining())
        self._stage("promote", self._new.promote)
        self._stage("repoint", lambda: self._pool.repoint(self._names[1]))
        self._stage("resume", self._pool.resume)
        self._took["held"] = self._here.now() - held

    def _await_streaming(self) -> None:
        """A standby looks for its primary every few seconds only; after a restart of the primary it is waited for."""
        end = self._here.now() + self._step.ready_within
        if (self._old.situation(), self._new.situation()) == ("writable", "standby"):
            while not self._new.follows(self._old) and self._here.now() < end:
                self._here.sleep(EVERY)

    def _go_on(self, old: Situation, new: Situation) -> None:
        """The old one was fenced by an earlier attempt, so the new one may have been asked already; perhaps not yet.

        What it lacks of a server that is down it will not get. It was not asked then, but it is shut down all the same.
        """
        self._within(self._step.hold)
        if old in RUNS_FENCED:
            self._old.stop()
            self._take_back(new, "somebody has started it since it was fenced, so where it ended is not known any more")
        try:
            position = self._old.stop()
            self._old.fence()  # it is there; but what made it may have been killed before it was on the disk
            self._new.catch_up(position)
        except (TargetUnreachable, Refused) as error:
            self._take_back(new, str(error))
        self._within(self._here.remaining())
        self._stage("promote", self._new.promote)

    def _take_back(self, new: Situation, why: str) -> NoReturn:
        """The old one, which is fenced, works again."""
        self._within(self._here.remaining())
        self._reversed().reinstate(new, "fenced")
        raise SwitchedBack(f"{self._names[0]} serves as before: {why}") from None

    def _give_up(self, error: Exception) -> NoReturn:
        """It failed before this attempt has asked for the promotion, and no earlier one had: so there is none pending.

        In any case the clients are let go: they get through, or get their errors.
        """
        self._within(self._here.remaining())
        try:
            if self._old.situation() in RUNS_FENCED:  # somebody has started it since it was fenced
                self._old.stop()
            self._old.unfence()
            self._put_back(self._old.situation())
        finally:
            self._pool.resume()
        raise SwitchedBack(f"{self._names[0]} serves as before: {error}") from None

    def _put_back(self, old: Situation) -> None:
        """The old primary works, and the clients get to it. Nothing is touched where this run has begun nothing.

        Of a server that somebody else has stopped, nobody here knows whether it may still be one.
        """
        if not self._is_ours(self._old):
            return
        try:
            if old == "writable":
                self._old.unfence()
            elif old not in NOT_WRITABLE:
                self._old.start()
        finally:
            self._pool.resume()
        self._old.disclaim()

    def reinstate(self, old: Situation, new: Situation) -> None:
        """Take the new one, which is the one that was stopped, back to work; the other may be about to become primary.

        A promotion that was asked for, and has not happened, does not outlive the server: so that is shut down first.
        """
        if new == "fenced":
            if old in RUNS_FENCED:
                self._old.stop()
            if self._old.situation() != "fenced":
                self._old.start()
                self._reversed().settle()
                raise Refused(
                    f"{self._names[0]} has become the primary, so it stays that; {self._names[1]} must follow it"
                )
            self._new.unfence()
        try:
            self._new.start()
        finally:
            self._pool.resume()
        self._old.start()

    def settle(self) -> None:
        """The new one takes writes. Nothing of the old one is left that could, and the clients are let through."""
        if self._old.situation() not in NOT_WRITABLE:
            self._old.fence()
        if self._pool.state().server != self._names[1]:
            self._pool.repoint(self._names[1])
        if self._pool.state().paused:
            self._pool.resume()
        self._old.disclaim()
        self._new.disclaim()

    def _reversed(self) -> "_Change":
        return _Change(self._step, self._here, *reversed(self._names))

    def _is_ours(self, server: DatabaseServer) -> bool:
        """Whether this very run, and no other, has claimed it."""
        return server.claimed() == self._owner

    def _stage(self, name: str, work: Callable[[], None]) -> None:
        began = self._here.now()
        work()
        self._took[name] = self._here.now() - began
        self._here.say(f"{name}: {self._took[name] * 1000:.0f} ms")

    def _within(self, seconds: float) -> None:
        """Nothing from here on may take longer than that."""
        for part in (self._old, self._new, self._pool):
            part.keep_within(min(seconds, self._here.remaining()))
