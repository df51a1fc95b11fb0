"""Users taken to one of two sites by the weights of their records in Amazon Route 53. Loads boto3 when it is opened.

Resolvers go on with the old answer for the records' time to live, and some clients for longer.
"""

import time
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec

from dr.targets.cloud import refuse_sick
from dr.targets.protocols import Opening, Share, TargetUnreachable
from dr.targets.transport.aws_access import AwsAccess

if TYPE_CHECKING:
    from dr.targets.cloud import WeightedRecords

ALL: Final = 100
EVERY: Final = 1.0
"""Seconds between two looks whether all name servers have it; it takes up to a minute."""
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Route53Traffic(AwsAccess, frozen=True, kw_only=True, tag="route53-traffic"):
    """Two weighted records of one name, one for each site."""

    speaks: ClassVar[tuple[str, ...]] = ("TrafficRouter",)

    zone: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{1,32}$")]
    """The hosted zone's id."""
    name: Annotated[str, msgspec.Meta(pattern=r"^[^\s]+$", max_length=1024)]
    """The name that the records share."""
    record: str = "A"
    """Their type."""
    primary: Identifier
    """Set identifier of the record of the primary site."""
    standby: Identifier
    """Set identifier of the record of the standby site."""

    def __post_init__(self) -> None:
        if self.primary == self.standby:
            raise ValueError("primary and standby are one record")


def open_target(config: Route53Traffic, opening: Opening) -> "Route53Router":
    """The records, opened. Nothing is asked yet."""
    from dr.targets.transport.aws_api import Api
    from dr.targets.transport.aws_records import Route53Records

    return Route53Router(config, Route53Records(Api(config, opening)), opening)


class Route53Router:
    """A TrafficRouter, exact to a percent of the answers."""

    def __init__(self, config: Route53Traffic, records: "WeightedRecords", opening: Opening) -> None:
        self._config = config
        self._records = records
        self._name = opening.name
        self._deadline = time.monotonic() + opening.timeout

    def ping(self) -> None:
        self.share()

    def close(self) -> None:
        pass

    def shares(self) -> tuple[int, ...]:
        return tuple(range(ALL + 1))

    def share(self) -> Share:
        primary, standby = self._weights()
        if not primary + standby:
            raise LookupError(f"{self._config.name}: all weights are 0, so Route 53 answers with every record alike")
        return Share.of_weights(primary=primary, standby=standby)

    def time_to_live(self) -> float:
        return self._records.time_to_live(self._config.zone, self._config.name, self._config.record)

    def shift(self, share: Share) -> None:
        """Both records in one change, and return when all name servers of the zone have it.

        Raises:
            NotReady: the health check of the standby's record fails.
        """
        if share.standby not in range(ALL + 1):
            raise LookupError(f"{share.standby} is not a share of 0 to 100 percent")
        config = self._config
        primary, standby = self._weights()
        before = {config.primary: primary, config.standby: standby}
        after = {config.primary: ALL - share.standby, config.standby: share.standby}
        if share.standby * (primary + standby) > ALL * standby:  # more than now; the way back is never barred
            health = self._records.health(config.zone, config.name, config.record)
            refuse_sick(record for record in [config.standby] if health[record] is False)
        change = self._records.write(config.zone, config.name, config.record, after, expected=before)
        while change and not self._records.is_in_sync(change):
            if time.monotonic() + EVERY > self._deadline:
                raise TargetUnreachable(f"{self._name}: not all name servers of {config.zone} have the change in time")
            time.sleep(EVERY)

    def _weights(self) -> tuple[int, int]:
        """Those of the primary and the standby.

        Raises:
            LookupError: one of the records is not there, or there is another one that is answered with.
        """
        config = self._config
        weights = dict(self._records.read(config.zone, config.name, config.record))
        missing = {config.primary, config.standby} - weights.keys()
        if missing:
            raise LookupError(f"{config.name} has no record {', '.join(sorted(missing))}, only {', '.join(weights)}")
        found = weights.pop(config.primary), weights.pop(config.standby)
        if weights:
            raise LookupError(f"{config.name} has records of other sites, too: {', '.join(weights)}")
        return found
