"""`database.reprotect`: after a role change the database gets a standby again.

A step of its own, because the service is well without it: it may take long, be tried again, or be put off.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Step, target
from dr.targets.protocols import Refused, TargetUnreachable
from dr.targets.switching import RUNS_FENCED, DatabaseServer, Situation

EVERY = 0.05
"""Seconds between two looks."""
RECOVERS = 0.5
"""Seconds between two looks at a server that replays its WAL: each of them starts four programs there."""

Diverged = Literal["refuse", "rewind", "copy"]
Way = Literal["as it was", "rewound", "copied"]
WAYS: tuple[Way, ...] = ("as it was", "rewound", "copied")
ALLOWED: Mapping[Diverged, Way] = {"refuse": "as it was", "rewind": "rewound", "copy": "copied"}
"""The furthest way that is gone."""
ALLOWANCE: Mapping[Diverged, str] = {
    "refuse": "",
    "rewind": ", rewound if it must be",
    "copy": ", rewound or copied anew if it must be",
}
ADVICE: Mapping[Diverged, str] = {
    "refuse": "if it has written what the primary never got, `diverged: rewind` discards that",
    "rewind": "`diverged: copy` makes it a fresh copy of the primary, and keeps its old data beside it",
    "copy": "",
}


class DatabaseReprotect(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a server the streaming standby of the primary: the old primary after a role change, or another standby.

    A server that takes writes is never made a standby. One whose data have gone another way than the primary's (it
    wrote what the primary never got) follows only after a rewind, which discards that; say `diverged: rewind` to allow
    it. One that cannot be rewound, or has no data, follows only as a fresh copy; `diverged: copy` allows that, too.
    """

    kind: ClassVar[str] = "database.reprotect"

    standby: Annotated[str, target(DatabaseServer, may_be_down=True)]
    """The server that is to follow."""
    primary: Annotated[str, target(DatabaseServer)]
    """The server that takes the writes."""
    diverged: Diverged = "refuse"
    """What to do with a server that cannot follow as it is. `copy`: where a rewind cannot do it either, it becomes a
    fresh copy of the primary (pg_basebackup); its old data directory is kept beside it as `DATA.before-...`."""
    streams_within: Duration = duration("15s")
    """How long it may take, after its start, until it streams; longer than its wal_retrieve_retry_interval."""
    max_lag: Duration = duration("5s")
    """How long it may take to replay what the primary has written when it is asked."""

    def __post_init__(self) -> None:
        if self.primary == self.standby:
            raise ValueError("standby: it is the same server as the primary")

    def summary(self) -> str:
        return f"Make {self.standby} the streaming standby of {self.primary}{ALLOWANCE[self.diverged]}"

    def takes(self) -> float:
        return 2 * self.streams_within + self.max_lag

    def preview(self, here: Here) -> Evidence:
        """How the two stand."""
        return {name: here.reach(DatabaseServer, name).situation() for name in (self.primary, self.standby)}

    def observe(self, here: Here) -> Observation:
        primary, standby = here.reach(DatabaseServer, self.primary), here.reach(DatabaseServer, self.standby)
        standing = self.preview(here)
        if standing != {self.primary: "writable", self.standby: "standby"}:
            return NotInPlace(standing)
        if not standby.follows(primary):
            return NotInPlace({**standing, "findings": [f"{self.standby} does not stream from {self.primary}"]})
        position = primary.position()
        end = here.now() + self.max_lag
        while standby.position() < position:
            if here.now() >= end:
                return NotInPlace({**standing, "bytes_behind": position - standby.position()})
            here.sleep(EVERY)
        return InPlace({**standing, "timeline": primary.origin()[1]})

    def apply(self, here: Here) -> Evidence:
        """Each way in turn that is allowed, the cheapest first, until it streams."""
        primary, standby = here.reach(DatabaseServer, self.primary), here.reach(DatabaseServer, self.standby)
        if primary.situation() != "writable":
            raise Refused(f"{self.primary} does not take writes, so there is nothing to follow")
        standby.take_over()
        self._await_recovery(here, standby)
        ways, why = WAYS[: WAYS.index(ALLOWED[self.diverged]) + 1], ""
        for way in ways:
            situation = standby.situation()
            if situation == "writable":
                raise Refused(f"{self.standby} takes writes itself: fence it by hand, at once")
            last = way == ways[-1]
            standby.keep_within(here.remaining() if last else here.remaining() / 2)
            try:
                self._bring_up(here, way, situation, standby, primary)
                if self._streams(here, standby, primary):
                    return {"way": way}
                why = f"{self.standby} does not stream from {self.primary}"
            except Refused as error:
                why = str(error)
            except TargetUnreachable as error:
                if last:
                    raise
                why = str(error)
                standby.keep_within(here.remaining())
                standby.halt()
            here.say(why)
            standby.keep_within(here.remaining())
        raise Refused(f"{why}; {ADVICE[self.diverged]}".removesuffix("; "))

    def _bring_up(
        self, here: Here, way: Way, situation: Situation, standby: DatabaseServer, primary: DatabaseServer
    ) -> None:
        """Fence before the start: it must not come up writable beside the primary (safety rule 10)."""
        if situation == "absent" and way != "copied":
            raise Refused(f"{self.standby} has no data")
        if situation in RUNS_FENCED and way != "as it was":
            standby.stop()
        if way == "rewound":
            standby.rewind(primary.replication)
        if way == "copied":
            standby.copy(primary.replication, f"{here.run}-{here.step}-{here.attempt}")
        if standby.situation() not in RUNS_FENCED:
            standby.fence()
            standby.start()

    def _await_recovery(self, here: Here, standby: DatabaseServer) -> None:
        """What a crashed server has to replay of its own it would have to replay before a rewind as well."""
        end = here.now() + here.remaining() / 2
        standby.keep_within(here.remaining())
        while standby.situation() == "recovering" and here.now() < end:
            here.say(f"{self.standby} replays its own WAL, and answers no query yet")
            here.sleep(RECOVERS)

    def _streams(self, here: Here, standby: DatabaseServer, primary: DatabaseServer) -> bool:
        """Whether it follows in time, having been told where to."""
        standby.follow(primary.replication)
        end = here.now() + self.streams_within
        while here.now() < end:
            try:
                if standby.follows(primary):
                    return True
            except TargetUnreachable:  # it restarts itself at times, when a timeline ends
                here.say(f"{self.standby} does not answer")
            here.sleep(EVERY)
        return False
