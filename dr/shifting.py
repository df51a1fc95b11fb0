"""What moves in stages between two places: the stages, what must not fail meanwhile, and the proof that it has moved.

Each stage is watched. One that deviates is shifted back at once to where everything was before, and the attempt has
failed. A router that says it has shifted proves nothing where it can be seen what arrives.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Literal

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, target
from dr.targets.protocols import HttpEndpoint, Share, TargetUnreachable, TrafficRouter

EVERY = 0.1
"""Seconds between two looks at a stage."""
SERVER_ERROR = 500
ALL = 100

Place = Literal["standby", "primary"]
Percent = Annotated[int, msgspec.Meta(ge=1, le=ALL)]
Stages = Annotated[tuple[Percent, ...], msgspec.Meta(min_length=1, max_length=20)]


class ShiftedBack(Exception):
    """A stage deviated, and everything is where it was before."""


class Deviation(Exception):
    """Why a stage cannot stay."""


class ErrorLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page that must not fail meanwhile: no answer, or a status of 500 and more."""

    target: Annotated[str, target(HttpEndpoint)]
    path: Annotated[str, msgspec.Meta(pattern=r"^/\S*$")] = "/"
    probes: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    """Requests at each look."""
    at_most: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """Percent of them that may fail."""
    timeout: Duration = duration("2s")

    def check(self, here: Here) -> None:
        """Raises Deviation: more requests fail than may."""
        endpoint = here.reach(HttpEndpoint, self.target)
        failures = 0
        for _ in range(self.probes):
            why = self._failure(endpoint)
            failures += bool(why)
            if 100 * failures > self.at_most * self.probes:
                raise Deviation(f"{self.target} {self.path} fails: {why}")

    def _failure(self, endpoint: HttpEndpoint) -> str:
        """Why one request failed; empty if it did not."""
        try:
            status = endpoint.get(self.path, timeout=self.timeout).status
        except TargetUnreachable as error:
            return str(error)
        return f"status {status}" if status >= SERVER_ERROR else ""


class Seen(msgspec.Struct, frozen=True):
    """What was seen to arrive at the two places: lower bounds, but 0 and more than 0 can be told apart."""

    standby: int = 0
    primary: int = 0

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(self.standby + other.standby, self.primary + other.primary)

    def astray(self, share: Share) -> bool:
        """Some came to a place that should get none."""
        return bool(self.standby and share.standby == 0) or bool(self.primary and share.standby == ALL)

    def everywhere(self, share: Share) -> bool:
        """Each place that should get some has got some."""
        return bool(self.standby or share.standby == 0) and bool(self.primary or share.standby == ALL)


class Sighting(msgspec.Struct, frozen=True):
    """What `sight` saw."""

    moved: bool
    """It arrives everywhere it should, and has arrived nowhere else for as long as was asked."""
    seen: Seen
    """What arrived since something last arrived where nothing should."""
    ever: Seen
    """What arrived in all."""
    clean: float
    """Seconds since something last arrived where nothing should."""
    looked: float
    """Seconds in all."""


def check_stages(stages: tuple[int, ...]) -> None:
    """Raises ValueError: they do not rise."""
    if list(stages) != sorted(set(stages)):
        raise ValueError("stages: the percentages must rise from stage to stage")


def say_stages(stages: tuple[int, ...], settle: Duration) -> str:
    """The stages in the plan's words."""
    return f"{', '.join(f'{percent}%' for percent in stages)}, each watched for {settle}"


def arrived(share: Share, to: Place) -> int:
    """Percent that go where they should."""
    return share.standby if to == "standby" else ALL - share.standby


def shares_left(router: TrafficRouter, name: str, to: Place, stages: tuple[int, ...], now: Share) -> Iterator[Share]:
    """The shares still to be set, one after the other; a stage between two that can be set is rounded down.

    A goal that is reached is set once more: something was seen elsewhere, or a crash came in the middle of setting it.

    Raises:
        LookupError: the router cannot set the goal.
    """
    goal = stages[-1]
    possible = sorted(arrived(Share(standby=percent), to) for percent in router.shares())
    if goal not in possible:
        raise LookupError(f"{name} cannot send {goal}% to the {to}, only {possible}")
    reached = arrived(now, to)
    for percent in sorted({max(percent for percent in possible if percent <= stage) for stage in stages}):
        if percent > reached or percent == reached == goal:
            yield Share(standby=percent if to == "standby" else ALL - percent)


def in_stages(
    router: TrafficRouter,
    began: Share,
    shares: Iterable[Share],
    *,
    before: Callable[[], object],
    watch: Callable[[Share], Evidence],
) -> list[Evidence]:
    """Set one share after the other; what was seen at each.

    `before` is asked before each is set, `watch` while it settles.

    Raises:
        Deviation: out of `before`, and nothing had been shifted yet.
        ShiftedBack: one deviated, and the share is as it was when this began.
    """
    now = began
    seen: list[Evidence] = []
    for share in shares:
        try:
            before()
            router.shift(share)
            now = share
            seen.append({"standby_percent": share.standby, **watch(share)})
        except Deviation as deviation:
            if now == began:
                raise
            router.shift(began)
            raise ShiftedBack(f"shifted back to {began.standby}% on the standby: {deviation}") from None
    return seen


def settle(here: Here, seconds: float, check: Callable[[], None]) -> None:
    """Look again and again, for so long. Raises what `check` raises."""
    end = here.now() + seconds
    while True:
        check()
        if here.now() >= end:
            return
        here.sleep(min(EVERY, end - here.now()))


def sight(
    here: Here, share: Share, sample: Callable[[], Seen], *, settle: float, within: float, at_least: float = 0.0
) -> Sighting:
    """Look where the traffic arrives, until it has been where `share` sends it, and nowhere else, for `settle` seconds.

    Args:
        here: the step's surroundings.
        share: what is in force.
        sample: looks once.
        settle: seconds for which nothing may arrive elsewhere.
        within: seconds in which the last of it must have stopped arriving elsewhere; given up `settle` after that.
        at_least: seconds that must pass in any case: clients that are not seen here may be sent as before for so long.
    """
    began = clean_since = here.now()
    seen = ever = Seen()
    while True:
        latest = sample()
        ever += latest
        seen += latest
        if latest.astray(share):
            seen, clean_since = Seen(), here.now()
        clean, looked = here.now() - clean_since, here.now() - began
        moved = seen.everywhere(share) and clean >= settle and looked >= at_least
        if moved or looked >= within + settle:
            return Sighting(moved, seen, ever, round(clean, 3), round(looked, 3))
        here.sleep(0)  # hears a stop


def share_of(before: Evidence) -> Share:
    """The share that was observed then."""
    return Share(standby=msgspec.convert(before["standby_percent"], int))
