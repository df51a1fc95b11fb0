"""`playbook.run`: a playbook of Ansible, seen by its own check mode and undone by another playbook.

That a playbook ended well proves nothing, and after a crash nobody knows how far it came. So it is asked again: where
check mode predicts no change, it is in place. A task that check mode cannot predict makes the answer "unknown", never
"nothing to do"; then a playbook of checks says it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec

from dr.core.quorum import Quorum, Standing, check_quorum, needed, ours, stood
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, Unknown, target
from dr.targets.playbooks import (
    MOST_WORDS,
    Play,
    Playbook,
    PlaybookHosts,
    TaskEnd,
    Variables,
    checked,
    predicted,
    say_task,
)

MOST_TOLD = 20
"""Hosts whose tasks go into the evidence; all of them are named, up to `MOST_HOSTS` (safety rule 15)."""
MOST_HOSTS = 200

Tag = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]+$", max_length=100)]


class PlaybookRun(
    Step,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"check_with": "check", "undo_with": "undo"},
):
    """Run a playbook of Ansible where it would change something.

    It is in place on a host where its check mode predicts no change, or where the playbook named by `check` finds
    nothing to fail on. It must do no harm when it is run again.
    """

    kind: ClassVar[str] = "playbook.run"
    reversal: ClassVar[Reversal] = "undo"

    hosts: Annotated[str, target(PlaybookHosts)]
    playbook: Playbook
    """Its file in the target's folder of playbooks."""
    check_with: Playbook | None = None
    """A playbook that changes nothing and fails on each host where the effect is not there; for what check mode cannot
    predict."""
    undo_with: Playbook | None = None
    """A playbook that undoes it, run where it was not in place before. Without it: a point of no return."""
    limit: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    """Ansible's pattern for a part of the inventory."""
    tags: Annotated[tuple[Tag, ...], msgspec.Meta(max_length=50)] = ()
    vars: Variables = msgspec.field(default_factory=dict)
    """Extra variables. Those that are secret belong to the target."""
    quorum: Quorum = "all"
    """On how many of the hosts it is played on it must be in place: `all`, or `2 of 3`, where 3 is their number."""

    def __post_init__(self) -> None:
        check_quorum(self.quorum)

    def summary(self) -> str:
        part = f" ({self.limit})" if self.limit else ""
        tags = f", only {', '.join(self.tags)}" if self.tags else ""
        where = "" if self.quorum == "all" else f"{self.quorum} of "
        return f"Run the playbook {self.playbook} on {where}{self.hosts}{part}{tags}"

    def reverses(self) -> Reversal:
        return "undo" if self.undo_with is not None else "impossible"

    def preview(self, here: Here) -> Evidence:
        """On which hosts it would change something, and which tasks would."""
        return self._look(here).evidence()

    def observe(self, here: Here) -> Observation:
        seen = self._look(here)
        missing, unknown = seen.names("not_in_place"), seen.names("unknown")
        in_place = len(seen.hosts) - len(missing) - len(unknown)
        enough = needed(self.quorum, len(seen.hosts), self.hosts)
        if in_place >= enough:
            return InPlace(seen.evidence())
        # A host that could not be asked may be half-way: it is waited for, if it is needed.
        if in_place + len(missing) < enough:
            return Unknown(seen.words(unknown))
        return NotInPlace({**seen.evidence(), "findings": [seen.words(missing)]})

    def apply(self, here: Here) -> Evidence:
        """Raises PlaybookFailed."""
        return self._change(here, self._play(self.playbook), self.quorum)

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """On every host on which it was not in place before, also where it was applied only in part."""
        assert self.undo_with is not None
        hosts = ours(before)
        if not hosts:  # an empty limit would be no limit
            return {}
        play = msgspec.structs.replace(self._play(self.undo_with), limit=",".join(hosts), tags=())
        return self._change(here, play, "all")

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        seen, mine = self._look(here), ours(before)
        left = [host for host in seen.names("in_place") if host in mine]
        # Where it could not be seen before, and now it is in place, nobody can tell whose work that is.
        unclear = [host for host in seen.names("in_place") if host in stood(before, "unknown")]
        unseen = [host for host in mine if host not in {*seen.names("in_place"), *seen.names("not_in_place")}]
        if left:
            return NotInPlace({**seen.evidence(), "findings": [f"still in place on {', '.join(left[:MOST_TOLD])}"]})
        if unseen:
            return Unknown(seen.words(unseen))
        if unclear:
            return Unknown(f"in place on {', '.join(unclear[:MOST_TOLD])}, which could not be looked at before")
        return InPlace(seen.evidence())

    def _play(self, playbook: str, *, check: bool = False) -> Play:
        return Play(playbook=playbook, variables=self.vars, limit=self.limit, tags=self.tags, check=check)

    def _look(self, here: Here) -> "_Seen":
        if self.check_with is None:
            return self._asked(here, self._play(self.playbook, check=True), predicted)
        return self._asked(here, msgspec.structs.replace(self._play(self.check_with), tags=()), checked)

    def _asked(self, here: Here, play: Play, judge: Callable[[Sequence[TaskEnd]], Standing]) -> "_Seen":
        """What the playbook says of each host. Raises LookupError when there are too many."""
        tasks: list[TaskEnd] = []
        end = here.reach(PlaybookHosts, self.hosts).play(play, _listener(here, tasks, aloud=False))
        if len(end.hosts) > MOST_HOSTS:
            raise LookupError(f"{play.playbook} is for {len(end.hosts)} hosts, more than {MOST_HOSTS}; give a `limit`")
        by_host = {host: [task for task in tasks if task.host == host] for host in end.hosts}
        return _Seen({host: (judge(found), found) for host, found in by_host.items()})

    def _change(self, here: Here, play: Play, quorum: str) -> Evidence:
        tasks: list[TaskEnd] = []
        end = here.reach(PlaybookHosts, self.hosts).play(play, _listener(here, tasks, aloud=True))
        wrong = [task for task in tasks if task.outcome in {"failed", "unreachable"}]
        spare = len(end.hosts) - needed(quorum, len(end.hosts), self.hosts)
        if len({task.host for task in wrong}) > spare or (end.status and not wrong):
            raise PlaybookFailed(
                f"{play.playbook} ended with status {end.status}: " + "; ".join(map(say_task, wrong[:5]))
            )
        told = {host: Counter(task.outcome for task in tasks if task.host == host) for host in end.hosts[:MOST_TOLD]}
        return {"playbook": play.playbook, "hosts": told, "of": len(end.hosts)}


class PlaybookFailed(Exception):
    """A task failed or a host could not be reached. Says nothing about what stands there."""


class _Seen(msgspec.Struct, frozen=True):
    """How each host stands, and the tasks that say so."""

    hosts: Mapping[str, tuple[Standing, Sequence[TaskEnd]]]

    def names(self, standing: Standing) -> list[str]:
        return [host for host, (stands, _) in self.hosts.items() if stands == standing]

    def words(self, hosts: Sequence[str]) -> str:
        more = f"; and {len(hosts) - MOST_TOLD} more hosts" if len(hosts) > MOST_TOLD else ""
        return "; ".join(f"{host}: {self._why(host)}" for host in hosts[:MOST_TOLD]) + more

    def evidence(self) -> Evidence:
        """First told is what is not as it should be."""
        told = [*self.names("unknown"), *self.names("not_in_place")][:MOST_TOLD]
        standings: tuple[Standing, ...] = ("in_place", "not_in_place", "unknown")
        return {**{standing: self.names(standing) for standing in standings}, "said": {h: self._why(h) for h in told}}

    def _why(self, host: str) -> str:
        _, tasks = self.hosts.get(host, ("unknown", ()))
        telling = [task for task in tasks if task.outcome not in {"ok", "skipped"}]
        return "; ".join(say_task(task, host=False) for task in telling)[:MOST_WORDS] or "it was not played on"


def _listener(here: Here, tasks: list[TaskEnd], *, aloud: bool) -> Callable[[TaskEnd | None], None]:
    def heard(task: TaskEnd | None) -> None:
        here.sleep(0)  # hears a stop
        if task is not None:
            tasks.append(task)
            if aloud and task.outcome != "skipped":
                here.say(say_task(task))

    return heard
