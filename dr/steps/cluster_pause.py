"""`cluster.pause` and `cluster.resume`: whether a cluster's manager changes roles by itself.

While servers are stopped, moved or restored on purpose, a manager that sees only that they are gone would fail over.
"""

from typing import Annotated, ClassVar

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.targets.switching import ManagedCluster


class _Care(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the two kinds share. Not a kind itself."""

    reversal: ClassVar[Reversal] = "undo"
    paused: ClassVar[bool]
    """How the step leaves it."""

    cluster: Annotated[str, target(ManagedCluster)]
    """The cluster whose manager is told."""

    def preview(self, here: Here) -> Evidence:
        """Whether its manager is paused now."""
        return {"paused": here.reach(ManagedCluster, self.cluster).paused()}

    def observe(self, here: Here) -> Observation:
        standing = self.preview(here)
        return InPlace(standing) if standing["paused"] == self.paused else NotInPlace(standing)

    def apply(self, here: Here) -> Evidence:
        here.reach(ManagedCluster, self.cluster).pause(paused=self.paused)
        return {}

    def undo(self, here: Here, before: Evidence) -> Evidence:
        here.reach(ManagedCluster, self.cluster).pause(paused=not self.paused)
        return {}


class ClusterPause(_Care, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Have a cluster's manager leave all roles alone until it is resumed.

    Nobody takes the place of a primary that dies meanwhile. A change that is asked for, by `database.switchover` say,
    is made all the same.
    """

    kind: ClassVar[str] = "cluster.pause"
    paused: ClassVar[bool] = True

    def summary(self) -> str:
        return f"Have the manager of {self.cluster} leave all roles alone: no failover by itself"


class ClusterResume(_Care, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Have a cluster's manager take care of the roles again: a primary that dies is replaced."""

    kind: ClassVar[str] = "cluster.resume"
    paused: ClassVar[bool] = False

    def summary(self) -> str:
        return f"Have the manager of {self.cluster} take care of its roles again"
