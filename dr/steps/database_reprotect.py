"""`database.reprotect`: after a role change the database gets a standby again.

A step of its own, because the service is well without it: it may take long, be tried again, or be put off.
"""

from typing import Annotated, ClassVar, Literal

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Step, target
from dr.targets.protocols import Refused, TargetUnreachable
from dr.targets.switching import DatabaseServer

EVERY = 0.05
"""Seconds between two looks."""


class DatabaseReprotect(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a server the streaming standby of the primary: the old primary after a role change, or another standby.

    A server that takes writes is never made a standby. One whose data have gone another way than the primary's (it
    wrote what the primary never got) follows only after a rewind, which discards that; say `diverged: rewind` to allow
    it.
    """

    kind: ClassVar[str] = "database.reprotect"

    standby: Annotated[str, target(DatabaseServer, may_be_down=True)]
    """The server that is to follow."""
    primary: Annotated[str, target(DatabaseServer)]
    """The server that takes the writes."""
    diverged: Literal["refuse", "rewind"] = "refuse"
    """What to do with a server that cannot follow as it is."""
    streams_within: Duration = duration("15s")
    """How long it may take, after its start, until it streams; longer than its wal_retrieve_retry_interval."""
    max_lag: Duration = duration("5s")
    """How long it may take to replay what the primary has written when it is asked."""

    def __post_init__(self) -> None:
        if self.primary == self.standby:
            raise ValueError("standby: it is the same server as the primary")

    def summary(self) -> str:
        rewound = ", rewound if it must be" if self.diverged == "rewind" else ""
        return f"Make {self.standby} the streaming standby of {self.primary}{rewound}"

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
        primary, standby = here.reach(DatabaseServer, self.primary), here.reach(DatabaseServer, self.standby)
        if primary.situation() != "writable":
            raise Refused(f"{self.primary} does not take writes, so there is nothing to follow")
        standby.take_over()
        self._make_standby(standby)
        if self._streams(here, standby, primary):
            return {"rewound": False}
        if self.diverged == "refuse":
            raise Refused(
                f"{self.standby} does not stream from {self.primary}; if it has written what {self.primary} never got, "
                "`diverged: rewind` discards that"
            )
        here.say(f"rewinding {self.standby}")
        standby.stop()
        standby.rewind(primary.replication)
        self._make_standby(standby)
        if not self._streams(here, standby, primary):
            raise Refused(f"{self.standby} does not stream from {self.primary}, though it was rewound")
        return {"rewound": True}

    def _make_standby(self, server: DatabaseServer) -> None:
        """Fence before the start: it must not come up writable beside the primary (safety rule 10)."""
        situation = server.situation()
        if situation == "writable":
            raise Refused(f"{self.standby} takes writes itself: fence it by hand, at once")
        if situation != "standby":
            server.fence()
            server.start()

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
