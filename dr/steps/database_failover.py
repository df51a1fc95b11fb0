"""`database.failover`: the primary is dead, and a standby takes its place; what the standby had not received is lost.

Fence, prove it, only then promote (safety rule 10). Which standby was chosen is noted on every standby before it is
asked, so that a later attempt can never choose another one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, TargetRole, target
from dr.errors import PartMissing
from dr.steps.roles.dead_primary import lost_at_most, sign_of_life
from dr.steps.roles.managed_cluster import ManagedFailover, of_cluster
from dr.targets.pools import ConnectionPool
from dr.targets.protocols import Conflict, Refused, TargetUnreachable
from dr.targets.switching import NOT_WRITABLE, DatabaseServer, FencingAgent, ManagedCluster, ServerName

NOT_SEEN = ("silent", "absent")
"""Nothing that could be fenced was found there; so it may be somewhere else."""
NO_FENCE = (TargetUnreachable, Refused, LookupError, Conflict, PartMissing)
"""What an agent raises that has not cut the primary off, be it only that it is not set up right."""
Despite = Literal["answering", "overloaded", "unfenced"]


class NotReady(Exception):
    """It would do harm, or may; nothing was changed."""


class DatabaseFailover(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Promote the most advanced standby in the place of a dead primary, which is fenced first.

    Refused while the primary works; while it answers, though its host cannot be commanded; while it is overloaded
    rather than dead (the load would move with the clients); and when it cannot be fenced, because then it may still
    take writes. All but the first can be overridden by name.
    """

    kind: ClassVar[str] = "database.failover"
    reversal: ClassVar[Reversal] = "impossible"

    primary: Annotated[str, target(DatabaseServer, may_be_down=True)]
    """The server that is dead; with `cluster`, what that calls it."""
    standbys: Annotated[tuple[ServerName, ...], msgspec.Meta(min_length=1, max_length=10)]
    """The servers of which the most advanced takes its place; the others then follow that one."""
    pool: Annotated[str, target(ConnectionPool)] | None = None
    """What takes the clients to the primary; this or `cluster`."""
    cluster: Annotated[str, target(ManagedCluster)] | None = None
    """The cluster that manages its roles itself: its manager is asked to promote, and fences."""
    quiet_for: Duration = duration("10s")
    """A primary that a standby heard of within that time is not dead."""
    patience: Duration = duration("5s")
    """How long the primary may take for each answer, before it counts as silent or as not fenced."""
    heartbeat: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    """A query that gives the age, in seconds, of a marker written all the time: how much is lost at most."""
    fence: Annotated[str, target(FencingAgent, may_be_down=True)] | None = None
    """What cuts the primary off (its power, its network, its clients), when it cannot be made to stop."""
    despite: tuple[Despite, ...] = ()
    """Go on although it is `answering`, or `overloaded`, or `unfenced`: then two servers may take writes, and rows of
    one are lost."""

    def __post_init__(self) -> None:
        if self.primary in self.standbys or len(set(self.standbys)) < len(self.standbys):
            raise ValueError("standbys: each of them once, and not the primary")
        if (self.pool is None) == (self.cluster is None):
            raise ValueError("pool: write either `pool` or `cluster`")

    def roles(self) -> Iterable[tuple[str, TargetRole]]:
        """Members of a cluster are no targets of their own."""
        return of_cluster(super().roles()) if self.cluster else super().roles()

    def summary(self) -> str:
        most = "the most advanced of " if len(self.standbys) > 1 else ""
        override = f", even if it is {' and '.join(self.despite)}" if self.despite else ""
        fence = f" (by {self.fence}, if it cannot be made to stop)" if self.fence else ""
        standbys = ", ".join(self.standbys)
        return f"Fence {self.primary}{fence}{override}, and promote {most}{standbys}; what it lacks is lost"

    def takes(self) -> float:
        return 10 * self.patience

    def preview(self, here: Here) -> Evidence:
        """How all parts stand, and whether the primary is dead."""
        change = self._change(here)
        return {**change.standing(), "in_the_way": change.obstacles()}

    def observe(self, here: Here) -> Observation:
        return self._change(here).look()

    def apply(self, here: Here) -> Evidence:
        return self._change(here).make()

    def _change(self, here: Here) -> "_Failover | ManagedFailover":
        if self.cluster:
            return ManagedFailover(
                here, self.cluster, self.primary, self.standbys,
                despite=self.despite, quiet_for=self.quiet_for, heartbeat=self.heartbeat,
            )  # fmt: skip
        return _Failover(self, here)


class _Failover:
    def __init__(self, step: DatabaseFailover, here: Here) -> None:
        self._step = step
        self._here = here
        self._old = here.reach(DatabaseServer, step.primary)
        self._standbys = {name: here.reach(DatabaseServer, name) for name in step.standbys}
        assert step.pool is not None
        self._pool_name = step.pool
        self._pool = here.reach(ConnectionPool, step.pool)
        self._owner = f"{here.run}/{here.step}"

    def standing(self) -> dict[str, object]:
        """How the parts stand, by their names."""
        pool = self._pool.state()
        clients = f"{'held before' if pool.paused else 'taken to'} {pool.server or 'none of the servers'}"
        servers = {name: self._situation(server) for name, server in self._servers().items()}
        return {**servers, self._pool_name: clients}

    def look(self) -> Observation:
        """In place: one standby takes writes, the primary cannot (or that was overridden), the clients get there.

        And no mark of this run is left: it would keep any later run from failing over.
        """
        seen = self.standing()
        if not self._changed(seen):
            return NotInPlace(seen)
        left = [name for name, mark in self._marks().items() if mark and self._is_ours(mark)]
        if left:
            return NotInPlace({**seen, "findings": [f"this run's mark is still on {', '.join(left)}"]})
        return InPlace(seen)

    def _changed(self, seen: Mapping[str, object]) -> bool:
        writable = [name for name in self._servers() if seen[name] == "writable"]
        old = seen[self._step.primary]
        vouched_for = "unfenced" in self._step.despite or self._cut_off()
        fenced = old in NOT_WRITABLE or (old in NOT_SEEN and vouched_for)
        return len(writable) == 1 and fenced and seen[self._pool_name] == f"taken to {writable[0]}"

    def make(self) -> Evidence:
        """Go on from wherever an earlier attempt was cut short, or begin."""
        if self._changed(self.standing()):
            self._disclaim()  # all that was left to do; the clients, who are well, are left alone
            return {}
        writable = [name for name, server in self._standbys.items() if self._situation(server) == "writable"]
        if len(writable) > 1:
            raise NotReady(f"{' and '.join(writable)} both take writes: fence one of them by hand, at once")
        if not writable and (wrong := self.obstacles()):
            raise NotReady("; ".join(wrong))
        self._pool.drop()
        try:
            fenced = self._fence()
            chosen = writable[0] if writable else self._choose()
            lost = self._lost(self._standbys[chosen]) if not writable else {}
            self._standbys[chosen].keep_within(self._here.remaining())
            self._standbys[chosen].promote()
            self._pool.repoint(chosen)
        finally:
            self._pool.resume()
        followed = [name for name in self._standbys if name != chosen and self._follows(name, chosen)]
        self._disclaim()
        return {"fenced": fenced, "promoted": chosen, "told_to_follow": followed, **lost}

    def obstacles(self) -> list[str]:
        """Why the primary is not dead, or nobody could take its place; found without changing anything."""
        name = self._step.primary
        situation = self._situation(self._old)
        if situation == "writable":
            return [f"{name} works: use database.switchover"]
        alive = [name for name, server in self._standbys.items() if self._situation(server) == "standby"]
        if not alive:
            return ["no standby answers"]
        found = [self._fences_another(), self._marked_by_another(self._marks())]
        if situation not in NOT_WRITABLE and "overloaded" not in self._step.despite:
            found.append(self._not_dead(alive))
        return [why for why in found if why]

    def _not_dead(self, standbys: Iterable[str]) -> str:
        """Signs of life of a primary whose host does not say that it runs; empty when there are none."""
        name, pulse = self._step.primary, self._soon(self._old).pulse()
        if pulse == "answers":
            why = f"{name} answers, so it is not dead, though its host cannot be commanded"
            return "" if "answering" in self._step.despite else f"{why}; if it has to go, say `despite: [answering]`"
        heard = ((standby, self._soon(self._standbys[standby]).heard()) for standby in standbys)
        return sign_of_life(name, pulse, heard, self._step.quiet_for)

    def _fence(self) -> str:
        """See to it that the primary can take no write, and prove it by its coming back as a standby; how it was done.

        Raises:
            NotReady: it could not, and nobody answers for it.
        """
        try:
            old = self._soon(self._old)
            old.take_over()
            if self._situation(old) not in NOT_WRITABLE:
                old.halt()
                old.fence()
                old.wake()
        except (TargetUnreachable, Refused) as error:
            return self._fence_from_outside(error)
        return "its next start makes it a standby"

    def _fence_from_outside(self, error: Exception) -> str:
        """The primary did not stop by itself: cut it off, unless the operator answers for it."""
        if self._step.fence is not None:
            self._here.say(f"{self._step.primary} cannot be made to stop: {error}")
            for_the_rest = 2 * self._step.patience
            try:
                agent = self._here.reach(FencingAgent, self._step.fence)
                agent.keep_within(max(0.0, self._here.remaining() - for_the_rest))
                agent.fence()
            except NO_FENCE as also:
                error = also
            else:
                self._here.say(f"{self._step.fence}: {self._step.primary} is cut off")
                return f"by {self._step.fence}"
        if "unfenced" not in self._step.despite:
            raise NotReady(
                f"{self._step.primary} cannot be fenced, so it may still take writes: {error}. Fence it yourself "
                "(cut its power or its network) and say `despite: [unfenced]`"
            ) from None
        self._here.say(f"{self._step.primary} is not fenced: {error}")
        return "not at all"

    def _fences_another(self) -> str:
        """Why the proof of the fence would be another server's; empty where it is not, or cannot be told."""
        if self._step.fence is None:
            return ""
        try:
            server = self._here.reach(FencingAgent, self._step.fence).server
        except TargetUnreachable:
            return ""
        return "" if server in ("", self._step.primary) else f"{self._step.fence} cuts off {server}, which is another"

    def _cut_off(self) -> bool:
        if self._step.fence is None:
            return False
        try:
            agent = self._here.reach(FencingAgent, self._step.fence)
            agent.keep_within(min(self._step.patience, self._here.remaining()))
            return agent.fenced()
        except NO_FENCE:
            return False

    def _choose(self) -> str:
        """The standby that has received most, or the one that an earlier attempt has chosen; noted to be found."""
        marks = self._marks()
        silent = [name for name in self._standbys if marks[name] is None]
        if silent and marks[self._step.primary] is None:
            raise NotReady(f"whether {', '.join(silent)} was chosen before cannot be seen; take it out of `standbys`")
        if why := self._marked_by_another(marks):
            raise NotReady(why)
        ours = {mark.removeprefix(f"{self._owner} ") for mark in marks.values() if mark}
        answering = {name: one.received() for name, one in self._standbys.items() if self._situation(one) == "standby"}
        if not answering:
            raise NotReady("no standby answers")
        chosen = next(iter(ours)) if ours else max(answering, key=lambda name: answering[name])
        if chosen not in answering:
            raise NotReady(f"{chosen} was chosen, may be about to become the primary, and does not answer")
        for name in (*answering, *([self._step.primary] if marks[self._step.primary] is not None else [])):
            self._soon(self._servers()[name]).claim(f"{self._owner} {chosen}")
        received = ", ".join(
            f"{name} up to byte {position:,} of timeline {timeline}" for name, (timeline, position) in answering.items()
        )
        self._here.say(f"{chosen} has received most: {received}")
        return chosen

    def _marks(self) -> dict[str, str | None]:
        """Who has marked each server; None where that cannot be read."""
        return {name: self._claimed(server) for name, server in self._servers().items()}

    def _is_ours(self, mark: str) -> bool:
        return mark.startswith(f"{self._owner} ")

    def _marked_by_another(self, marks: Mapping[str, str | None]) -> str:
        """Why a standby may have been asked to become the primary that is not the one to be chosen now; else empty."""
        others = {name: mark for name, mark in marks.items() if mark and not self._is_ours(mark)}
        if not others:
            return ""
        runs = ", ".join(sorted({mark.partition("/")[0] for mark in others.values()}))
        return (
            f"{', '.join(others)} is marked by another change of roles, which may have asked a standby to become the "
            f"primary: {runs} (`dr show RUN` tells how it ended). When none is about to, remove the mark, the file "
            "dr.claim in the data directory"
        )

    def _disclaim(self) -> None:
        for server in self._servers().values():
            self._quietly(self._soon(server).disclaim)

    def _lost(self, chosen: DatabaseServer) -> Evidence:
        return lost_at_most(lambda: chosen.seconds(self._step.heartbeat)) if self._step.heartbeat else {}

    def _follows(self, name: str, chosen: str) -> bool:
        server = self._standbys[name]
        return self._quietly(lambda: server.follow(self._standbys[chosen].replication))

    def _quietly(self, work: Callable[[], None]) -> bool:
        """What the service does not depend on: whether it could be done."""
        try:
            work()
        except (TargetUnreachable, Refused) as error:
            self._here.say(str(error))
            return False
        return True

    def _claimed(self, server: DatabaseServer) -> str | None:
        """What is noted there; None when that cannot be read."""
        try:
            return self._soon(server).claimed()
        except TargetUnreachable:
            return None

    def _situation(self, server: DatabaseServer) -> str:
        """As the server says, or `silent`."""
        try:
            return self._soon(server).situation()
        except TargetUnreachable:
            return "silent"

    def _servers(self) -> dict[str, DatabaseServer]:
        return {self._step.primary: self._old, **self._standbys}

    def _soon(self, server: DatabaseServer) -> DatabaseServer:
        """The server, of which nothing is waited for longer than the patience lasts."""
        server.keep_within(min(self._step.patience, self._here.remaining()))
        return server
