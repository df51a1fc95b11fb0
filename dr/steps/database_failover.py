"""`database.failover`: the primary is dead, and a standby takes its place; what the standby had not received is lost.

Fence, prove it, only then promote (safety rule 10). Which standby was chosen is noted on every standby before it is
asked, so that a later attempt can never choose another one.
"""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.targets.protocols import Refused, TargetUnreachable
from dr.targets.switching import ConnectionPool, DatabaseServer, FencingAgent, ServerName

NOT_WRITABLE = ("standby", "fenced")
Despite = Literal["overloaded", "unfenced"]


class NotReady(Exception):
    """It would do harm, or may; nothing was changed."""


class DatabaseFailover(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Promote the most advanced standby in the place of a dead primary, which is fenced first.

    Refused while the primary works; while it is overloaded rather than dead (the load would move with the clients); and
    when it cannot be fenced, because then it may still take writes. The latter two can be overridden by name.
    """

    kind: ClassVar[str] = "database.failover"
    reversal: ClassVar[Reversal] = "impossible"

    primary: Annotated[str, target(DatabaseServer, may_be_down=True)]
    """The server that is dead."""
    standbys: Annotated[tuple[ServerName, ...], msgspec.Meta(min_length=1, max_length=10)]
    """The servers of which the most advanced takes its place; the others then follow that one."""
    pool: Annotated[str, target(ConnectionPool)]
    quiet_for: Duration = duration("10s")
    """A primary that a standby heard of within that time is not dead."""
    patience: Duration = duration("5s")
    """How long the primary may take for each answer, before it counts as silent or as not fenced."""
    heartbeat: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    """A query that gives the age, in seconds, of a marker written all the time: how much is lost at most."""
    fence: Annotated[str, target(FencingAgent, may_be_down=True)] | None = None
    """What cuts the primary off from outside (its power, its network), when the primary cannot be made to stop."""
    despite: tuple[Despite, ...] = ()
    """Go on although it is `overloaded`, or `unfenced`: then two servers may take writes, and rows of one are lost."""

    def __post_init__(self) -> None:
        if self.primary in self.standbys or len(set(self.standbys)) < len(self.standbys):
            raise ValueError("standbys: each of them once, and not the primary")

    def summary(self) -> str:
        most = "the most advanced of " if len(self.standbys) > 1 else ""
        override = f", even if it is {' and '.join(self.despite)}" if self.despite else ""
        return f"Fence {self.primary}{override}, and promote {most}{', '.join(self.standbys)}; what it lacks is lost"

    def takes(self) -> float:
        return 10 * self.patience

    def preview(self, here: Here) -> Evidence:
        """How all parts stand, and whether the primary is dead."""
        change = _Failover(self, here)
        return {**change.standing(), "in_the_way": change.obstacles()}

    def observe(self, here: Here) -> Observation:
        return _Failover(self, here).look()

    def apply(self, here: Here) -> Evidence:
        return _Failover(self, here).make()


class _Failover:
    def __init__(self, step: DatabaseFailover, here: Here) -> None:
        self._step = step
        self._here = here
        self._old = here.reach(DatabaseServer, step.primary)
        self._standbys = {name: here.reach(DatabaseServer, name) for name in step.standbys}
        self._pool = here.reach(ConnectionPool, step.pool)
        self._owner = f"{here.run}/{here.step}"

    def standing(self) -> dict[str, object]:
        """How the parts stand, by their names."""
        pool = self._pool.state()
        clients = f"{'held before' if pool.paused else 'taken to'} {pool.server or 'none of the servers'}"
        servers = {name: self._situation(server) for name, server in self._servers().items()}
        return {**servers, self._step.pool: clients}

    def look(self) -> Observation:
        """In place: one standby takes writes, the primary cannot (or that was overridden), the clients get there."""
        seen = self.standing()
        writable = [name for name in self._servers() if seen[name] == "writable"]
        old = seen[self._step.primary]
        fenced = old in NOT_WRITABLE or (old == "silent" and ("unfenced" in self._step.despite or self._cut_off()))
        done = len(writable) == 1 and fenced and seen[self._step.pool] == f"taken to {writable[0]}"
        return InPlace(seen) if done else NotInPlace(seen)

    def make(self) -> Evidence:
        """Go on from wherever an earlier attempt was cut short, or begin."""
        writable = [name for name, server in self._standbys.items() if self._situation(server) == "writable"]
        if len(writable) > 1:
            raise NotReady(f"{' and '.join(writable)} both take writes: fence one of them by hand, at once")
        if not writable and (wrong := self.obstacles()):
            raise NotReady("; ".join(wrong))
        self._pool.drop()
        try:
            self._fence()
            chosen = writable[0] if writable else self._choose()
            lost = self._lost(self._standbys[chosen]) if not writable else {}
            self._standbys[chosen].keep_within(self._here.remaining())
            self._standbys[chosen].promote()
            self._pool.repoint(chosen)
        finally:
            self._pool.resume()
        followed = [name for name in self._standbys if name != chosen and self._follows(name, chosen)]
        for server in self._servers().values():
            self._quietly(server.disclaim)
        return {"promoted": chosen, "told_to_follow": followed, **lost}

    def obstacles(self) -> list[str]:
        """Why the primary is not dead, or nobody could take its place; found without changing anything."""
        name = self._step.primary
        situation = self._situation(self._old)
        if situation == "writable":
            return [f"{name} works: use database.switchover"]
        alive = [name for name, server in self._standbys.items() if self._situation(server) == "standby"]
        if not alive:
            return ["no standby answers"]
        if situation in NOT_WRITABLE or "overloaded" in self._step.despite:
            return []
        advice = "failing over would take the load along; use the runbook database-overload, or `despite: [overloaded]`"
        pulse = self._soon(self._old).pulse()
        if pulse == "overloaded":
            return [f"{name} is overloaded, not dead: it has no connection left; {advice}"]
        if pulse == "starting":
            return [f"{name} is not dead: it is starting or shutting down"]
        for standby in alive:
            age = self._soon(self._standbys[standby]).heard()
            if age is not None and age < self._step.quiet_for:
                return [f"{name} hangs or is overloaded, not dead: {standby} heard of it {age:.1f} s ago; {advice}"]
        return []

    def _fence(self) -> None:
        """See to it that the primary can take no write, and prove it by its coming back as a standby."""
        try:
            old = self._soon(self._old)
            old.take_over()
            if self._situation(old) in NOT_WRITABLE:
                return
            old.halt()
            old.fence()
            old.wake()
        except (TargetUnreachable, Refused) as error:
            self._fence_from_outside(error)

    def _fence_from_outside(self, error: Exception) -> None:
        """The primary did not stop by itself: cut it off, unless the operator answers for it."""
        if self._step.fence is not None:
            self._here.say(f"{self._step.primary} cannot be made to stop: {error}")
            agent = self._here.reach(FencingAgent, self._step.fence)
            for_the_rest = 2 * self._step.patience
            agent.keep_within(max(0.0, self._here.remaining() - for_the_rest))
            try:
                agent.fence()
            except (TargetUnreachable, Refused) as also:
                error = also
            else:
                self._here.say(f"{self._step.fence}: {self._step.primary} is cut off")
                return
        if "unfenced" not in self._step.despite:
            raise NotReady(
                f"{self._step.primary} cannot be fenced, so it may still take writes: {error}. Fence it yourself "
                "(cut its power or its network) and say `despite: [unfenced]`"
            ) from None
        self._here.say(f"{self._step.primary} is not fenced: {error}")

    def _cut_off(self) -> bool:
        if self._step.fence is None:
            return False
        try:
            agent = self._here.reach(FencingAgent, self._step.fence)
            agent.keep_within(min(self._step.patience, self._here.remaining()))
            return agent.fenced()
        except TargetUnreachable:
            return False

    def _choose(self) -> str:
        """The standby that has received most, or the one that an earlier attempt has chosen; noted to be found."""
        marks = {name: self._claimed(server) for name, server in self._servers().items()}
        silent = [name for name in self._standbys if marks[name] is None]
        if silent and marks[self._step.primary] is None:
            raise NotReady(f"whether {', '.join(silent)} was chosen before cannot be seen; take it out of `standbys`")
        noted = {mark for mark in marks.values() if mark}
        ours = {mark.removeprefix(f"{self._owner} ") for mark in noted if mark.startswith(f"{self._owner} ")}
        if others := [mark for mark in noted if not mark.startswith(f"{self._owner} ")]:
            raise NotReady(f"another run has been at work: {', '.join(sorted(others))}")
        answering = {name: one.received() for name, one in self._standbys.items() if self._situation(one) == "standby"}
        if not answering:
            raise NotReady("no standby answers")
        chosen = next(iter(ours)) if ours else max(answering, key=lambda name: answering[name])
        if chosen not in answering:
            raise NotReady(f"{chosen} was chosen, may be about to become the primary, and does not answer")
        for name in (*answering, *([self._step.primary] if marks[self._step.primary] is not None else [])):
            self._soon(self._servers()[name]).claim(f"{self._owner} {chosen}")
        self._here.say(f"{chosen} has received most: {answering}")
        return chosen

    def _lost(self, chosen: DatabaseServer) -> dict[str, object]:
        """How much is lost at most, as far as it can be told: the age of the newest marker that arrived."""
        if not self._step.heartbeat:
            return {}
        try:
            return {"lost_at_most_seconds": round(chosen.seconds(self._step.heartbeat), 3)}
        except (LookupError, TargetUnreachable) as error:
            return {"lost_at_most_seconds": None, "why": str(error)}

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
