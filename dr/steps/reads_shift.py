"""`reads.shift`: an application's reads move from one database server to the other, in stages.

A standby that lags, or that cannot carry the reads, sends everything back to the sick primary at the worst moment. So
its room is checked first, each stage is watched, and what deviates is shifted back at once. A router that says it has
shifted proves nothing: the step is done when the reads are seen where they should be, on both servers.
"""

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, Unknown, target
from dr.targets.protocols import (
    Connections,
    Database,
    HttpEndpoint,
    Lag,
    Overloaded,
    ReadRouter,
    Share,
    TargetUnreachable,
)

EVERY = 0.1
"""Seconds between two looks at a stage."""
WINDOW = 0.2
"""Seconds for which each server is watched for reads, in turn."""
SERVER_ERROR = 500
ALL = 100

Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]


class ShiftedBack(Exception):
    """A stage deviated, and the reads are where they were before."""


class NoRoom(Exception):
    """The standby has not enough free connections for what would come; nothing was moved."""


class _Deviation(Exception):
    """Why a stage cannot stay."""


class ErrorLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page that must not fail while the reads move: no answer, or a status of 500 and more."""

    target: Annotated[str, target(HttpEndpoint)]
    path: Annotated[str, msgspec.Meta(pattern=r"^/\S*$")] = "/"
    probes: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    """Requests at each look."""
    at_most: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """Percent of them that may fail."""
    timeout: Duration = duration("2s")

    def check(self, here: Here) -> None:
        """Raises _Deviation: more requests fail than may."""
        endpoint = here.reach(HttpEndpoint, self.target)
        failures = 0
        for _ in range(self.probes):
            why = self._failure(endpoint)
            failures += bool(why)
            if 100 * failures > self.at_most * self.probes:
                raise _Deviation(f"{self.target} {self.path} fails: {why}")

    def _failure(self, endpoint: HttpEndpoint) -> str:
        """Why one request failed; empty if it did not."""
        try:
            status = endpoint.get(self.path, timeout=self.timeout).status
        except TargetUnreachable as error:
            return str(error)
        return f"status {status}" if status >= SERVER_ERROR else ""


class ReadsShift(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shift an application's reads to the standby, or back to the primary, in stages that are watched.

    If the standby lags too much or vanishes, or the page named by `errors` fails, the reads go back to where they were
    and the attempt has failed. In place only when the servers themselves show that the reads have moved.
    """

    kind: ClassVar[str] = "reads.shift"
    reversal: ClassVar[Reversal] = "undo"

    router: Annotated[str, target(ReadRouter)]
    """Target that decides where the application reads; it names the two servers."""
    to: Literal["standby", "primary"] = "standby"
    stages: Annotated[tuple[Percent, ...], msgspec.Meta(min_length=1, max_length=20)] = (25, 50, 100)
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
        if list(self.stages) != sorted(set(self.stages)):
            raise ValueError("stages: the percentages must rise from stage to stage")

    def summary(self) -> str:
        stages = ", ".join(f"{percent}%" for percent in self.stages)
        limits = [f"it is more than {self.max_lag} behind"] if self.to == "standby" else []
        limits += [f"{self.errors.target} {self.errors.path} fails"] if self.errors else []
        back = f"; back if {' or '.join(limits)}" if limits else ""
        return f"Shift the reads of {self.router} to the {self.to}: {stages}, each watched for {self.settle}{back}"

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
        if self._arrived(share) < self.stages[-1]:
            return NotInPlace({"standby_percent": share.standby})
        return self._seen_at(here, share)

    def apply(self, here: Here) -> Evidence:
        router = here.reach(ReadRouter, self.router)
        began = now = router.share()
        seen: list[Evidence] = []
        room = self._check_room(here, router, self.stages[-1]) if self.to == "standby" else {}
        for share in self._way(router, began):
            try:
                if self.to == "standby":
                    self._check_lag(here, router)
                else:
                    self._primary(here, router)
                router.shift(share)
                now = share
                here.say(f"{share.standby}% of the reads go to {router.standby}")
                seen.append({"standby_percent": share.standby, **self._watch(here, router)})
            except _Deviation as deviation:
                if now == began:
                    raise
                router.shift(began)
                raise ShiftedBack(f"shifted back to {began.standby}% on {router.standby}: {deviation}") from None
        return {"standby_percent_before": began.standby, **room, "stages": seen}

    def undo(self, here: Here, before: Evidence) -> Evidence:
        router = here.reach(ReadRouter, self.router)
        share = _share(before)
        if share.standby > router.share().standby:
            self._check_room(here, router, share.standby)
            self._check_lag(here, router)
        router.shift(share)
        return {"standby_percent": share.standby}

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        share = here.reach(ReadRouter, self.router).share()
        return self._seen_at(here, share) if share == _share(before) else NotInPlace({"standby_percent": share.standby})

    def _arrived(self, share: Share) -> int:
        """Percent of the reads that go where they should."""
        return share.standby if self.to == "standby" else 100 - share.standby

    def _way(self, router: ReadRouter, began: Share) -> Iterator[Share]:
        """The shares still to be set, one after the other.

        A goal that is reached is set once more: reads were seen elsewhere, or a crash came in the middle of setting it.

        Raises:
            LookupError: the router cannot set the goal.
        """
        possible = sorted(self._arrived(Share(standby=percent)) for percent in router.shares())
        if self.stages[-1] not in possible:
            raise LookupError(f"{self.router} cannot send {self.stages[-1]}% to the {self.to}, only {possible}")
        stages = {max(percent for percent in possible if percent <= stage) for stage in self.stages}
        arrived = self._arrived(began)
        for percent in sorted(stages):
            if percent > arrived or percent == arrived == self.stages[-1]:
                yield Share(standby=percent if self.to == "standby" else 100 - percent)

    def _watch(self, here: Here, router: ReadRouter) -> Evidence:
        """Look at the stage again and again while it settles. Raises _Deviation."""
        end = here.now() + self.settle
        worst = Lag(bytes=0, seconds=0)
        while True:
            if self.to == "standby":
                worst = max(worst, self._check_lag(here, router), key=lambda lag: lag.seconds)
            if self.errors is not None:
                self.errors.check(here)
            if here.now() >= end:
                return {"worst_lag_seconds": round(worst.seconds, 3), "worst_lag_bytes": worst.bytes}
            here.sleep(min(EVERY, end - here.now()))

    def _check_lag(self, here: Here, router: ReadRouter) -> Lag:
        """Raises _Deviation: the standby lags, or is gone or no standby of this primary any more.

        TargetUnreachable: it is the primary that is gone, so that there is nowhere to go back to.
        """
        primary = self._primary(here, router)
        try:
            lag = here.reach(Database, router.standby).lag_behind(primary)
        except LookupError as error:
            raise _Deviation(str(error)) from None
        except TargetUnreachable as error:
            self._primary(here, router)
            raise _Deviation(str(error)) from None
        if lag.seconds > self.max_lag:
            behind = f"{router.standby} is {lag.seconds:.3g} s ({lag.bytes} bytes) behind {router.primary}"
            raise _Deviation(f"{behind}, at most {self.max_lag} is allowed")
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
        began = clean_since = here.now()
        seen = ever = _Reads()
        while True:
            latest = _Reads(
                standby=standby.reads_seen(router.application, WINDOW),
                primary=primary.reads_seen(router.application, WINDOW),
            )
            ever += latest
            seen += latest
            if latest.astray(share):
                seen, clean_since = _Reads(), here.now()
            clean = here.now() - clean_since
            facts = {"standby_percent": share.standby, "reads_seen": msgspec.to_builtins(seen), "for": round(clean, 3)}
            if seen.everywhere(share) and clean >= self.settle:
                return InPlace(facts)
            if here.now() - began >= self.seen_within + self.settle:
                break
            here.sleep(0)  # hears a stop
        if ever == _Reads():
            return Unknown(f"no read of the application {router.application!r} was seen on either server")
        where = f"{ever.standby} on {router.standby}, {ever.primary} on {router.primary}"
        return NotInPlace({**facts, "findings": [f"{share.standby}% should go to {router.standby}; seen: {where}"]})


class _Room(msgspec.Struct, frozen=True):
    """The standby's connections, and how many would come."""

    standby: Connections
    coming: int

    def facts(self) -> Evidence:
        return {"connections_free": self.standby.free, "connections_coming": self.coming}


class _Reads(msgspec.Struct, frozen=True):
    """Reads seen on the two servers: lower bounds, but 0 and more than 0 can be told apart."""

    standby: int = 0
    primary: int = 0

    def __add__(self, other: "_Reads") -> "_Reads":
        return _Reads(self.standby + other.standby, self.primary + other.primary)

    def astray(self, share: Share) -> bool:
        """Some came to a server that should get none."""
        return bool(self.standby and share.standby == 0) or bool(self.primary and share.standby == ALL)

    def everywhere(self, share: Share) -> bool:
        """Each server that should get some has got some."""
        return bool(self.standby or share.standby == 0) and bool(self.primary or share.standby == ALL)


def _share(before: Evidence) -> Share:
    return Share(standby=msgspec.convert(before["standby_percent"], int))
