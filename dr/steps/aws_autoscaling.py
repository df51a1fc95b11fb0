"""`aws.autoscaling.capacity`: capacity before load."""

from typing import Annotated, ClassVar

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.targets.cloud import Capacity, CapacityGroups, CloudAccount
from dr.targets.protocols import Conflict

EVERY = 2.0
"""Seconds between two looks; a machine takes a minute or more."""


class AwsAutoscalingCapacity(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bring an Auto Scaling group to at least so many machines in service, before the load comes.

    Nothing is ever made smaller. The group's minimum is raised as well, so that no scaling policy takes the machines
    away again; the undo sets minimum, maximum and desired capacity back. Done when the machines are in service.
    """

    kind: ClassVar[str] = "aws.autoscaling.capacity"
    reversal: ClassVar[Reversal] = "undo"

    account: Annotated[str, target(CloudAccount)]
    """Target that is the account."""
    group: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    at_least: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    raise_maximum: bool = False
    """Whether the group's maximum may be raised; otherwise a smaller one is refused."""
    in_service_within: Duration = duration("10m")
    """How long it may take until so many machines are in service."""

    def summary(self) -> str:
        return (
            f"Bring {self.group} of {self.account} to at least {self.at_least} machines in service, "
            f"within {self.in_service_within}"
        )

    def takes(self) -> float:
        return self.in_service_within

    def preview(self, here: Here) -> Evidence:
        """The group as it stands."""
        return _facts(self._groups(here).read(self.group))

    def observe(self, here: Here) -> Observation:
        """Once the group is set, its machines are waited for."""
        end = here.now() + self.in_service_within
        while True:
            now = self._groups(here).read(self.group)
            if not self._is_set(now):
                return NotInPlace(_facts(now))
            if now.in_service >= self.at_least:
                return InPlace(_facts(now))
            if here.now() >= end:
                missing = f"{now.in_service} of {self.at_least} machines are in service"
                return NotInPlace({**_facts(now), "findings": [missing]})
            here.say(f"{now.in_service} of {self.at_least} machines are in service")
            here.sleep(min(EVERY, end - here.now()))

    def apply(self, here: Here) -> Evidence:
        groups = self._groups(here)
        before = groups.read(self.group)
        least, most, desired = self._wanted(before)
        if most > before.most and not self.raise_maximum:
            raise LookupError(f"{self.group} has a maximum of {before.most}; `raise_maximum: true` raises it")
        groups.write(self.group, least=least, most=most, desired=desired)
        return {"before": _facts(before), "after": _facts(groups.read(self.group))}

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Only what this step did is undone: a group that somebody else has changed since then is a Conflict."""
        groups, then = self._groups(here), _capacity(before)
        now = groups.read(self.group)
        if not _same(now, then):
            least, most, desired = self._wanted(then)
            if (now.least, now.most) != (least, most):
                raise Conflict(f"{self.group} was changed by somebody else: its limits are {now.least} to {now.most}")
            # A policy may have asked for more since; what came of itself also goes of itself.
            back = then.desired if now.desired == desired else min(now.desired, then.most)
            groups.write(self.group, least=then.least, most=then.most, desired=back)
        return _facts(groups.read(self.group))

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        now, then = self._groups(here).read(self.group), _capacity(before)
        undone = (now.least, now.most) == (then.least, then.most)
        return InPlace(_facts(now)) if undone else NotInPlace(_facts(now))

    def _wanted(self, now: Capacity) -> tuple[int, int, int]:
        """Minimum, maximum and desired capacity as this step leaves them."""
        return max(now.least, self.at_least), max(now.most, self.at_least), max(now.desired, self.at_least)

    def _is_set(self, now: Capacity) -> bool:
        return self._wanted(now) == (now.least, now.most, now.desired)

    def _groups(self, here: Here) -> CapacityGroups:
        return here.reach(CloudAccount, self.account).capacity_groups


def _same(now: Capacity, then: Capacity) -> bool:
    return (now.least, now.most, now.desired) == (then.least, then.most, then.desired)


def _facts(capacity: Capacity) -> Evidence:
    return {
        "min": capacity.least,
        "max": capacity.most,
        "desired": capacity.desired,
        "in_service": capacity.in_service,
    }


def _capacity(facts: Evidence) -> Capacity:
    sizes = msgspec.convert(facts, dict[str, int])
    return Capacity(least=sizes["min"], most=sizes["max"], desired=sizes["desired"], in_service=sizes["in_service"])
