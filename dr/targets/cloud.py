"""How steps see an account of a cloud: one small Protocol for each of its services that a runbook changes.

As in `protocols.py`: a call raises `TargetUnreachable` when the thing could not be asked; repeating it does no harm.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter as it stands in the store."""

    version: int
    """Counts up with each write; the store keeps what older versions held."""
    secret: bool
    value: str | None
    """None if it is secret: it is compared and restored where it stands, and never read by a step."""


class Parameters(Protocol):
    """A store of configuration that applications read."""

    def read(self, name: str) -> Parameter | None:
        """The parameter; None when there is none of that name."""
        ...

    def holds(self, name: str, value: str, *, secret: bool) -> bool:
        """Whether the parameter has this value; a secret one is named by a reference."""
        ...

    def same(self, name: str, version: int) -> bool:
        """Whether the parameter has the value that it had in that version.

        Raises:
            LookupError: the store no longer keeps it.
        """
        ...

    def write(self, name: str, value: str, *, secret: bool) -> Parameter:
        """Give it this value, or make it; a secret one takes a reference to its value. What else it has stays.

        Raises:
            LookupError: the store refuses the value, or the parameter is secret and should not be (or the reverse).
        """
        ...

    def restore(self, name: str, version: int) -> Parameter:
        """Give it the value again that it had in that version. Raises LookupError when that is no longer kept."""
        ...

    def remove(self, name: str) -> None: ...


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """A group of machines that are made and ended as they are needed."""

    least: int
    most: int
    desired: int
    in_service: int
    """Machines that are healthy and take traffic."""


class CapacityGroups(Protocol):
    """The groups of an account."""

    def read(self, group: str) -> Capacity:
        """The group as it stands. Raises LookupError when there is none."""
        ...

    def write(self, group: str, *, least: int, most: int, desired: int) -> None: ...


class WeightedRecords(Protocol):
    """Records of a DNS zone that share a name and a type; each answers in proportion to its weight."""

    def read(self, zone: str, name: str, kind: str) -> Mapping[str, int]:
        """The weights by the records' identifiers, as the zone has them. Raises LookupError when there are none."""
        ...

    def time_to_live(self, zone: str, name: str, kind: str) -> float:
        """Seconds for which a resolver may keep the answer, the longest of all these records."""
        ...

    def health(self, zone: str, name: str, kind: str) -> Mapping[str, bool | None]:
        """What their health checks say, by the records' identifiers.

        False: the zone does not answer with that record, whatever its weight. None: it has no health check, or one that
        does not tell what it sees, or has not seen anything yet.
        """
        ...

    def write(self, zone: str, name: str, kind: str, weights: Mapping[str, int], *, expected: Mapping[str, int]) -> str:
        """Set these weights, all or none, and leave the rest of each record; the id of the change, empty for none.

        Raises:
            Conflict: the records do not stand as `expected` any more.
        """
        ...

    def is_in_sync(self, change: str) -> bool:
        """Whether all name servers of the zone answer by it."""
        ...


class Functions(Protocol):
    """Functions that are there to be called."""

    def invoke(self, name: str, payload: bytes) -> bytes:
        """What the function returns. Raises LookupError when there is none, or when it fails."""
        ...

    def ready(self, name: str) -> str:
        """The state of the function, such as `Active`. Raises LookupError when there is none."""
        ...


class NotReady(Exception):
    """Something else is going on there, or it is not in the state that a change of roles needs."""


def refuse_sick(records: Iterable[str]) -> None:
    """Raises NotReady: there are records to which traffic would go and whose health check fails."""
    if sick := sorted(records):
        raise NotReady(
            f"the health check of {', '.join(sick)} fails: Route 53 does not answer with it, whatever its weight"
        )


class SourceMayWrite(Exception):
    """What writes now may go on taking writes beside the one that is to (safety rule 10)."""


class ManagedInstance(msgspec.Struct, frozen=True, kw_only=True):
    """A database server that the cloud runs."""

    status: str
    """In the cloud's own word; `available` when nothing is going on."""
    follows: str
    """The instance it is a read replica of; empty when it is none. In another region, its ARN."""
    followers: tuple[str, ...]
    """Its own read replicas."""


class ManagedCluster(msgspec.Struct, frozen=True, kw_only=True):
    """Instances over one storage, of which one writes."""

    status: str
    writer: str
    """Empty while there is none."""
    members: tuple[str, ...]


class GlobalCluster(msgspec.Struct, frozen=True, kw_only=True):
    """Clusters in several regions, of which one writes; each is named by its ARN."""

    status: str
    """In the cloud's own word; `available` when it is well."""
    changing: str
    """What a change of the writer that is under way is doing; empty when there is none."""
    writer: str
    """Empty while there is none."""
    members: tuple[str, ...]
    behind: tuple[str, ...]
    """Members that do not have what the writer has, and are not about to."""


class ManagedDatabases(Protocol):
    """The databases that the cloud runs. What changes a role returns long before it is done."""

    def instance(self, name: str) -> ManagedInstance:
        """Raises LookupError when there is none."""
        ...

    def promote(self, name: str) -> None:
        """Make a read replica an instance of its own. Raises LookupError when that is refused."""
        ...

    def switch_over(self, name: str) -> None:
        """Make a read replica the primary, and its source a replica of it. Raises LookupError when that is refused."""
        ...

    def cluster(self, name: str) -> ManagedCluster:
        """Raises LookupError when there is none."""
        ...

    def fail_over(self, cluster: str, to: str) -> None:
        """Make that member the writer. Raises LookupError when that is refused."""
        ...

    def global_cluster(self, name: str) -> GlobalCluster:
        """Raises LookupError when there is none."""
        ...

    def switch_over_globally(self, name: str, to: str) -> None:
        """Make that cluster the writer, without loss. Raises LookupError when that is refused."""
        ...

    def fail_over_globally(self, name: str, to: str) -> None:
        """Make that cluster the writer; what it did not have yet is lost. Raises LookupError when that is refused."""
        ...


class CloudAccount(Protocol):
    """An account of a cloud in one region."""

    @property
    def parameters(self) -> Parameters: ...

    @property
    def capacity_groups(self) -> CapacityGroups: ...

    @property
    def weighted_records(self) -> WeightedRecords: ...

    @property
    def functions(self) -> Functions: ...

    @property
    def databases(self) -> ManagedDatabases: ...
