"""`traffic.shift`: users are taken to another site, in stages, and back by itself when a page fails there.

The site that takes over is asked before each stage, at its own address: what fails there gets no users at all.
"""

from functools import partial
from typing import Annotated, ClassVar

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, Unknown, target
from dr.shifting import (
    EVERY,
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
from dr.targets.protocols import HttpEndpoint, Share, TargetUnreachable, TrafficRouter

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Arrivals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page, asked for as a new user does, that tells which site has answered.

    Each request looks the name up anew, with this machine's resolver, and has a connection of its own. So it is seen
    how that resolver answers; of all others it is known that they keep an answer no longer than its time to live.
    """

    target: Annotated[str, target(HttpEndpoint)]
    path: Annotated[str, msgspec.Meta(pattern=r"^/\S*$")] = "/"
    primary: Text
    """What the page of the primary site holds, and the other's does not."""
    standby: Text
    """What the page of the standby site holds."""
    probes: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    """Requests at each look."""
    timeout: Duration = duration("2s")

    def sample(self, here: Here) -> Seen:
        """How many were answered where; a request that got no answer was not seen."""
        endpoint, seen = here.reach(HttpEndpoint, self.target), Seen()
        for _ in range(self.probes):
            try:
                page = endpoint.get(self.path, timeout=self.timeout).body.decode("utf-8", "replace")
            except TargetUnreachable:
                continue
            seen += Seen(standby=int(self.standby in page), primary=int(self.primary in page))
        here.sleep(EVERY)  # it goes on for as long as resolvers keep an answer, at a site that may be sick
        return seen


class TrafficShift(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shift users to the standby site, or back to the primary one, in stages that are watched.

    If a page named by `errors` fails, the traffic goes back to where it was and the attempt has failed. With `arrivals`
    it is in place only when requests are seen to be answered there, and no resolver may keep the answer of before any
    more; without, when the router says so.
    """

    kind: ClassVar[str] = "traffic.shift"
    reversal: ClassVar[Reversal] = "undo"

    router: Annotated[str, target(TrafficRouter)]
    """Target that decides which site is used."""
    to: Place = "standby"
    stages: Stages = (10, 50, 100)
    """Percent of the traffic that goes there, rising; the last is the goal."""
    settle: Duration = duration("10s")
    """How long each stage is watched, and how long no request may be answered by the wrong site at the end."""
    errors: Annotated[tuple[ErrorLimit, ...], msgspec.Meta(max_length=20)] = ()
    """Pages that must not fail, asked before the first stage and while each settles."""
    arrivals: Arrivals | None = None
    """How it is seen where requests arrive."""
    seen_within: Duration = duration("2m")
    """How long it may take until they arrive only where they were sent: resolvers keep an answer for its time to live,
    so it must be longer than that."""

    def __post_init__(self) -> None:
        check_stages(self.stages)

    def summary(self) -> str:
        pages = " or ".join(f"{limit.target} {limit.path}" for limit in self.errors)
        back = f"; back if {pages} fails" if pages else ""
        seen = "" if self.arrivals else "; where it arrives is not looked at"
        return (
            f"Shift the traffic of {self.router} to the {self.to}: {say_stages(self.stages, self.settle)}{back}{seen}"
        )

    def takes(self) -> float:
        return self.settle * len(self.stages) + (self.seen_within if self.arrivals else 0.0)

    def preview(self, here: Here) -> Evidence:
        """Where the traffic goes, and for how long some of it may still go where it was sent before."""
        router = here.reach(TrafficRouter, self.router)
        return {"standby_percent": router.share().standby, "time_to_live_seconds": router.time_to_live()}

    def observe(self, here: Here) -> Observation:
        share = here.reach(TrafficRouter, self.router).share()
        if arrived(share, self.to) < self.stages[-1]:
            return NotInPlace({"standby_percent": share.standby})
        return self._seen_at(here, share)

    def apply(self, here: Here) -> Evidence:
        router = here.reach(TrafficRouter, self.router)
        began = router.share()
        shares = shares_left(router, self.router, self.to, self.stages, began)
        seen = in_stages(
            router,
            began,
            shares,
            before=lambda: self._check(here),
            watch=lambda share: self._watch(here, share),
        )
        return {"standby_percent_before": began.standby, "stages": seen}

    def undo(self, here: Here, before: Evidence) -> Evidence:
        share = share_of(before)
        here.reach(TrafficRouter, self.router).shift(share)
        return {"standby_percent": share.standby}

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        share = here.reach(TrafficRouter, self.router).share()
        if share != share_of(before):
            return NotInPlace({"standby_percent": share.standby})
        return self._seen_at(here, share)

    def _check(self, here: Here) -> None:
        """Raises Deviation."""
        for limit in self.errors:
            limit.check(here)

    def _watch(self, here: Here, share: Share) -> Evidence:
        """Look at the stage while it settles. Raises Deviation."""
        here.say(f"{share.standby}% of the traffic goes to the standby")
        settle(here, self.settle, lambda: self._check(here))
        return {}

    def _seen_at(self, here: Here, share: Share) -> Observation:
        """Whether the sites' own answers show requests where `share` sends them, and for `settle` nowhere else."""
        facts: dict[str, object] = {"standby_percent": share.standby}
        arrivals = self.arrivals
        if arrivals is None:
            return InPlace(facts)
        kept = here.reach(TrafficRouter, self.router).time_to_live()
        look = partial(arrivals.sample, here)
        found = sight(here, share, look, settle=self.settle, within=self.seen_within, at_least=kept)
        facts |= {"answered_by": msgspec.to_builtins(found.seen), "for": found.clean}
        if found.moved:
            return InPlace(facts)
        if found.ever == Seen():
            return Unknown(f"no answer of {arrivals.target} {arrivals.path} tells the sites apart")
        if found.seen.everywhere(share) and found.clean >= self.settle:
            seen_for = f"all is well here for {found.looked:.3g} s, but resolvers may keep the answer of before"
            return Unknown(f"{seen_for} for {kept:g} s: make seen_within longer, or that time to live shorter")
        where = f"{found.ever.standby} by the standby, {found.ever.primary} by the primary"
        return NotInPlace({**facts, "findings": [f"{share.standby}% should go to the standby; answered: {where}"]})
