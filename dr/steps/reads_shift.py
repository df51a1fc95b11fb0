"""`reads.shift`: an application's reads move from one database server to the other, in stages.

A standby that lags, or that cannot carry the reads, sends everything back to the sick primary at the worst moment. So
its room is checked first, each stage is watched, and what deviates is shifted back at once. A router that says it has
shifted proves nothing: the step is done when the reads are seen where they should be, on both servers.
"""

import math
from typing import Annotated, ClassVar

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, Unknown, target
from dr.shifting import (
    ALL,
    Deviation,
    ErrorLimit,
    Place,
    Seen,
    Stages,
    arrived,
    check_stages,
    in_stages,
    say_stages,
    settle,
    share_of,
    shares_left,
    sight,
)
from dr.targets.protocols import Connections, Database, Lag, Overloaded, ReadRouter, Share, TargetUnreachable

WINDOW = 0.2
"""Seconds for which each server is watched for reads, in turn."""


class NoRoom(Exception):
    """The standby has not enough free connections for what would come; nothing was moved."""


class ReadsShift(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shift an application's reads to the standby, or back to the primary, in stages that are watched.

    If the standby lags too much or vanishes, or the page named by `errors` fails, the reads go back to where they were
    and the attempt has failed. In place only when the servers themselves show that the reads have moved.
    """

    kind: ClassVar[str] = "reads.shift"
    reversal: ClassVar[Reversal] = "undo"

    router: Annotated[str, target(ReadRouter)]
    """Target that decides where the application reads; it names the two servers."""
    to: Place = "standby"
    stages: Stages = (25, 50, 100)
    """Percent of the reads that go there, rising; the last is the goal. One the router cannot set is rounded down."""
    max_lag: Duration = duration("5s")
    """How far the standby may be behind, before and while it gets reads."""
    settle: Duration = duration("5s")
    """How long each stage is watched, and how long no read may be seen on the wrong server at the end."""
    seen_within: Duration = duration("10s")
    """How long it may take until reads are seen only where they were sent: applications learn of a flag with delay."""
    errors: ErrorLimit | None = None
    check_room: bool = True
    """Refuse when the standby has fewer connections free than would come. `false` overrides that: connections are then
    refused to some clients, unless the application needs fewer on the standby than it has on the primary."""

    def __post_init__(self) -> None:
        check_stages(self.stages)

    def summary(self) -> str:
        limits = [f"it is more than {self.max_lag} behind"] if self.to == "standby" else []
        limits += [f"{self.errors.target} {self.errors.path} fails"] if self.errors else []
        back = f"; back if {' or '.join(limits)}" if limits else ""
        return f"Shift the reads of {self.router} to the {self.to}: {say_stages(self.stages, self.settle)}{back}"

    def takes(self) -> float:
        return self.settle * len(self.stages) + self.seen_within

    def preview(self, here: Here) -> Evidence:
        """Where the reads go, how far the standby is behind, and its room for connections."""
        router = here.reach(ReadRouter, self.router)
        lag = here.reach(Database, router.standby).lag_behind(self._primary(here, router))
        seen = {"standby_percent": router.share().standby, "lag_seconds": round(lag.seconds, 3)}
        return {**seen, **(self._room(here, router, self.stages[-1]).facts() if self.to == "standby" else {})}

    def observe(self, here: Here) -> Observation:
        share = here.reach(ReadRouter, self.router).share()
        if arrived(share, self.to) < self.stages[-1]:
            return NotInPlace({"standby_percent": share.standby})
        return self._seen_at(here, share)

    def apply(self, here: Here) -> Evidence:
        router = here.reach(ReadRouter, self.router)
        began = router.share()
        room = self._check_room(here, router, self.stages[-1]) if self.to == "standby" else {}
        shares = shares_left(router, self.router, self.to, self.stages, began)
        seen = in_stages(
            router,
            began,
            shares,
            before=lambda: self._check(here, router),
            watch=lambda share: self._watch(here, router, share),
        )
        return {"standby_percent_before": began.standby, **room, "stages": seen}

    def undo(self, here: Here, before: Evidence) -> Evidence:
        router = here.reach(ReadRouter, self.router)
        share = share_of(before)
        if share.standby > router.share().standby:
            self._check_room(here, router, share.standby)
            self._check_lag(here, router)
        router.shift(share)
        return {"standby_percent": share.standby}

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        share = here.reach(ReadRouter, self.router).share()
        return (
            self._seen_at(here, share) if share == share_of(before) else NotInPlace({"standby_percent": share.standby})
        )

    def _check(self, here: Here, router: ReadRouter) -> None:
        """Raises Deviation; or TargetUnreachable, and there is nowhere to go back to."""
        if self.to == "standby":
            self._check_lag(here, router)
        else:
            self._primary(here, router)

    def _watch(self, here: Here, router: ReadRouter, share: Share) -> Evidence:
        """Look at the stage while it settles. Raises Deviation."""
        here.say(f"{share.standby}% of the reads go to {router.standby}")
        worst = Lag(bytes=0, seconds=0)

        def check() -> None:
            nonlocal worst
            if self.to == "standby":
                worst = max(worst, self._check_lag(here, router), key=lambda lag: lag.seconds)
            if self.errors is not None:
                self.errors.check(here)

        settle(here, self.settle, check)
        return {"worst_lag_seconds": round(worst.seconds, 3), "worst_lag_bytes": worst.bytes}

    def _check_lag(self, here: Here, router: ReadRouter) -> Lag:
        """Raises Deviation: the standby lags, or is gone or no standby of this primary any more.

        TargetUnreachable: it is the primary that is gone, so that there is nowhere to go back to.
        """
        primary = self._primary(here, router)
        try:
            lag = here.reach(Database, router.standby).lag_behind(primary)
        except LookupError as error:
            raise Deviation(str(error)) from None
        except TargetUnreachable as error:
            self._primary(here, router)
            raise Deviation(str(error)) from None
        if lag.seconds > self.max_lag:
            behind = f"{router.standby} is {lag.seconds:.3g} s ({lag.bytes} bytes) behind {router.primary}"
            raise Deviation(f"{behind}, at most {self.max_lag} is allowed")
        return lag

    def _check_room(self, here: Here, router: ReadRouter, percent: int) -> Evidence:
        """Raises NoRoom."""
        room = self._room(here, router, percent)
        if room.coming > room.standby.free and self.check_room:
            used = f"{room.standby.used} of {room.standby.limit} are in use"
            raise NoRoom(
                f"{router.standby} has {room.standby.free} connections free ({used}), but {room.coming} of "
                f"{router.application!r} would come from {router.primary}. Nothing was moved; make room there, "
                f"shift less than {percent}%, or override with `check_room: false`"
            )
        return room.facts()

    def _room(self, here: Here, router: ReadRouter, percent: int) -> "_Room":
        """What would come to the standby with that share, if the application keeps as many connections as now."""
        standby = here.reach(Database, router.standby).connections(router.application)
        primary = self._primary(here, router).connections(router.application)
        there = math.ceil((standby.application + primary.application) * percent / ALL)
        return _Room(standby=standby, coming=max(0, there - standby.application))

    def _primary(self, here: Here, router: ReadRouter) -> Database:
        """The primary, which answers.

        Raises:
            TargetUnreachable: it does not; the words tell an overloaded one from a dead one, as far as that is seen.
        """
        try:
            primary = here.reach(Database, router.primary)
            primary.wal_position()
        except Overloaded as error:
            full = f"{error}. It is overloaded, not dead: end what fills it (queries.terminate, feature.disable)"
            raise Overloaded(
                f"{full}, or let dr's role use reserved connections (pg_use_reserved_connections)"
            ) from None
        except TargetUnreachable as error:
            raise TargetUnreachable(f"{error}. {self._pulse(here, router)}") from None
        return primary

    def _pulse(self, here: Here, router: ReadRouter) -> str:
        """What the standby knows of a primary that does not answer."""
        try:
            receives = here.reach(Database, router.standby).receives()
        except TargetUnreachable as error:
            return f"Whether it is dead or overloaded is not known: {error}"
        if receives:
            return f"It is not dead but overloaded, or out of reach from here: {router.standby} still receives from it"
        return f"It seems dead, not overloaded: {router.standby} receives nothing from it either; consider a failover"

    def _seen_at(self, here: Here, share: Share) -> Observation:
        """Whether the servers themselves show reads where `share` sends them, and for `settle` nowhere else."""
        router = here.reach(ReadRouter, self.router)
        standby, primary = here.reach(Database, router.standby), self._primary(here, router)
        found = sight(
            here,
            share,
            lambda: Seen(
                standby=standby.reads_seen(router.application, WINDOW),
                primary=primary.reads_seen(router.application, WINDOW),
            ),
            settle=self.settle,
            within=self.seen_within,
        )
        facts = {
            "standby_percent": share.standby,
            "reads_seen": msgspec.to_builtins(found.seen),
            "for": found.clean,
        }
        if found.moved:
            return InPlace(facts)
        if found.ever == Seen():
            return Unknown(f"no read of the application {router.application!r} was seen on either server")
        where = f"{found.ever.standby} on {router.standby}, {found.ever.primary} on {router.primary}"
        return NotInPlace({**facts, "findings": [f"{share.standby}% should go to {router.standby}; seen: {where}"]})


class _Room(msgspec.Struct, frozen=True):
    """The standby's connections, and how many would come."""

    standby: Connections
    coming: int

    def facts(self) -> Evidence:
        return {"connections_free": self.standby.free, "connections_coming": self.coming}
