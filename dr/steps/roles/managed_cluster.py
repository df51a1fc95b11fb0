"""The primary of a managed cluster changes: its manager is asked for it, and the servers themselves are watched.

The manager fences, promotes and lets the others follow; with its one lock it sees to it that there is one primary. What
dr adds: it looks before it asks, never takes an answer (or none) for the effect, and proves what came of it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from dr.core.duration import Duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, TargetRole
from dr.steps.roles.dead_primary import lost_at_most, sign_of_life
from dr.targets.protocols import Refused, TargetUnreachable
from dr.targets.switching import ManagedCluster, Member

EVERY = 0.2
"""Seconds between two looks at what takes its time."""
HARMLESS = ("standby", "refuses")
"""How a primary stands that can take no write: what does not run is started by its manager only, as a standby."""


def of_cluster(roles: Iterable[tuple[str, TargetRole]]) -> Iterator[tuple[str, TargetRole]]:
    """The targets of a step on a cluster: its members are no targets of their own."""
    return ((name, role) for name, role in roles if role.protocol == ManagedCluster.__name__)


class ManagedChange:
    """The primary changes from the member `old` to one of `standbys`; `unfenced`: though nobody sees the old one."""

    def __init__(
        self, here: Here, cluster: str, old: str, standbys: tuple[str, ...], *, unfenced: bool = False
    ) -> None:
        self._here = here
        self._name = cluster
        self._cluster = here.reach(ManagedCluster, cluster)
        self._old = old
        self._standbys = standbys
        self._unfenced = unfenced

    def standing(self) -> dict[str, object]:
        """How the members stand, by their names, and whom the manager holds for the primary."""
        return self._words(self._members())

    def look(self) -> Observation:
        """In place: one of the standbys, and nobody else, takes writes, and the manager knows it for the primary."""
        members = self._members()
        seen = self._words(members)
        writable = [name for name, member in members.items() if member.situation == "writable"]
        old = members[self._old].situation
        fenced = old in HARMLESS or (old == "silent" and self._unfenced)
        new = writable[0] if len(writable) == 1 else ""
        if fenced and new in self._standbys and seen[self._name] == f"led by {new}":
            return InPlace({**seen, "timeline": members[new].timeline})
        return NotInPlace(seen)

    def settled(self) -> None:
        """Wait until a request that nobody answered has been acted upon, or never will be."""
        end = self._here.now() + self._cluster.settles_within()
        while self._here.now() < end and not self._in_place():
            self._here.sleep(EVERY)

    def _in_place(self) -> bool:
        """Whether it can be seen that it is; while roles change, at times nobody answers."""
        try:
            return isinstance(self.look(), InPlace)
        except TargetUnreachable as error:
            self._here.say(str(error))
            return False

    def _ask(self, request: Callable[[], None]) -> None:
        """Neither an answer nor silence is proof: what stands decides. Raises Refused, TargetUnreachable."""
        self._cluster.keep_within(self._here.remaining())
        try:
            request()
        except TargetUnreachable as error:
            self._here.say(f"{error}; watching what comes of it")
            self.settled()
            if not self._in_place():
                raise

    def _await(self) -> float:
        """Seconds until it was in place. Raises OutOfTime."""
        began = self._here.now()
        while not self._in_place():
            self._here.sleep(EVERY)
        return round(self._here.now() - began, 3)

    def _words(self, members: Mapping[str, Member]) -> dict[str, object]:
        leads = f"led by {self._cluster.leader() or 'nobody'}"
        return {**{name: member.situation for name, member in members.items()}, self._name: leads}

    def _members(self) -> Mapping[str, Member]:
        """All members, those included that the step names. Raises LookupError: one of these is none."""
        members = self._cluster.members()
        for name in (self._old, *self._standbys):
            if name not in members:
                raise LookupError(f"{self._name} has no member {name}")
        return members


class ManagedSwitchover(ManagedChange):
    """Planned: the leader hands over to the one standby."""

    def obstacles(self) -> list[str]:
        """Everything that stands in the way, found without changing anything."""
        members, leader = self._members(), self._cluster.leader()
        [new] = self._standbys
        wrong = [] if leader == self._old else [f"{self._name} is led by {leader or 'nobody'}, not by {self._old}"]
        for name, wanted in ((self._old, "writable"), (new, "standby")):
            if members[name].situation != wanted:
                wrong.append(f"{name} is {members[name].situation}, not {wanted}")
            if not members[name].managed:
                wrong.append(f"the manager beside {name} does not answer")
        if wrong:
            return wrong
        if members[new].heard is None:
            wrong.append(f"{new} does not stream")
        if members[new].timeline != members[self._old].timeline:
            wrong.append(f"{new} is on another timeline than {self._old}")
        return wrong

    def make(self) -> Evidence:
        """Ask for the change, unless it has happened, and wait until it is in place."""
        self._await_leader()
        [new] = self._standbys
        if self._cluster.leader() != new:
            if wrong := self.obstacles():
                raise Refused("; ".join(wrong))
            self._ask(lambda: self._cluster.switch_over(self._old, new))
        return {"seconds_watched": self._await()}

    def _await_leader(self) -> None:
        """A change that an earlier attempt has asked for may be under way."""
        end = self._here.now() + self._cluster.settles_within()
        while not self._cluster.leader() and self._here.now() < end:
            self._here.sleep(EVERY)


class ManagedFailover(ManagedChange):
    """Unplanned: the leader is dead, and the most advanced standby takes its place."""

    def __init__(
        self, here: Here, cluster: str, old: str, standbys: tuple[str, ...], *,
        despite: Collection[str], quiet_for: Duration, heartbeat: str,
    ) -> None:  # fmt: skip
        super().__init__(here, cluster, old, standbys, unfenced="unfenced" in despite)
        self._despite = despite
        self._quiet_for = quiet_for
        self._heartbeat = heartbeat

    def obstacles(self) -> list[str]:
        """Why the primary is not dead, may still take writes, or has nobody to take its place."""
        why = self._alive(self._members())
        return [why] if why else []

    def make(self) -> Evidence:
        """Ask for the promotion, unless the manager has seen to it by itself, and wait until it is in place."""
        members = self._members()
        writable = [name for name, member in members.items() if member.situation == "writable"]
        if len(writable) > 1:
            raise Refused(f"{' and '.join(writable)} take writes: fence one of them by hand, at once")
        lost: Evidence = {}
        if not set(writable) & set(self._standbys):
            if why := self._alive(members):
                raise Refused(why)
            chosen = max(self._able(members), key=lambda name: members[name].received)
            if self._heartbeat:
                lost = lost_at_most(lambda: self._cluster.seconds(chosen, self._heartbeat))
            self._ask(lambda: self._cluster.fail_over(chosen))
        return {"seconds_watched": self._await(), "leader": self._cluster.leader(), **lost}

    def _alive(self, members: Mapping[str, Member]) -> str:
        """One that is silent is fenced by its manager where that answers: it keeps its lock until it has stopped it."""
        old, able = members[self._old], self._able(members)
        if old.situation == "writable" and old.managed:
            return f"{self._old} works: use database.switchover"
        if old.situation == "writable":
            return f"{self._old} takes writes, and its manager does not answer: stop it, or start its manager"
        if not able:
            return "no standby answers whose manager answers, too"
        if old.situation in HARMLESS:
            return ""
        heard = ((name, members[name].heard) for name in able)
        if "overloaded" not in self._despite and (
            why := sign_of_life(self._old, old.situation, heard, self._quiet_for)
        ):
            return why
        if old.managed or self._unfenced:
            return ""
        return (
            f"{self._old} and its manager are silent, so it may still take writes. Fence it yourself (cut its power or "
            "its network) and say `despite: [unfenced]`"
        )

    def _able(self, members: Mapping[str, Member]) -> list[str]:
        """The standbys that could become the primary."""
        return [name for name in self._standbys if members[name].situation == "standby" and members[name].managed]
