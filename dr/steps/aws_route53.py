"""`aws.route53.shift`: traffic goes elsewhere, by the weights of DNS records."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.targets.cloud import CloudAccount, WeightedRecords, refuse_sick

EVERY = 1.0
"""Seconds between two looks whether all name servers have it; it takes up to a minute."""

Weight = Annotated[int, msgspec.Meta(ge=0, le=255)]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class AwsRoute53Shift(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Set the weights of DNS records in Amazon Route 53, all at once. Undone by the weights they had.

    Refused when it would send traffic to a record whose health check fails. Seen at the zone. Resolvers go on with the
    old answer for the records' time to live, and some clients for longer: verify that traffic moved by a health check
    after it.
    """

    kind: ClassVar[str] = "aws.route53.shift"
    reversal: ClassVar[Reversal] = "undo"

    account: Annotated[str, target(CloudAccount)]
    """Target that is the account."""
    zone: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{1,32}$")]
    """The hosted zone's id."""
    name: Annotated[str, msgspec.Meta(pattern=r"^[^\s]+$", max_length=1024)]
    """The name that the records share."""
    type: str = "A"
    weights: Annotated[dict[Identifier, Weight], msgspec.Meta(min_length=1)]
    """Weight of each record by its set identifier, 0 to 255; those not named keep theirs."""

    def summary(self) -> str:
        weights = ", ".join(f"{identifier} {weight}" for identifier, weight in self.weights.items())
        return f"Set the weights of {self.name} ({self.type}) in {self.account}: {weights}"

    def preview(self, here: Here) -> Evidence:
        """The weights as they stand."""
        return _facts(self._read(here))

    def observe(self, here: Here) -> Observation:
        now = self._read(here)
        done = all(now.get(identifier) == weight for identifier, weight in self.weights.items())
        return InPlace(_facts(now)) if done else NotInPlace(_facts(now))

    def apply(self, here: Here) -> Evidence:
        before = self._read(here)
        unknown = self.weights.keys() - before.keys()
        if unknown:
            raise LookupError(f"{self.name} has no record {', '.join(sorted(unknown))}, only {', '.join(before)}")
        after = {**before, **self.weights}
        if not any(after.values()):
            raise LookupError(f"with all weights 0, Route 53 would answer with every record of {self.name} alike")
        self._refuse_unhealthy(here, before)
        return self._write(here, self.weights, before)

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Only what this step did is undone: records that somebody else has changed since then are a Conflict."""
        then = _weights(before)
        if self._read(here) == then:
            return before
        return self._write(here, then, {**then, **self.weights})

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        now = self._read(here)
        return InPlace(_facts(now)) if now == _weights(before) else NotInPlace(_facts(now))

    def _refuse_unhealthy(self, here: Here, before: Mapping[str, int]) -> None:
        """Raises NotReady: a record that is to answer more often has a health check that fails."""
        more = {identifier for identifier, weight in self.weights.items() if weight > before[identifier]}
        health = self._records(here).health(self.zone, self.name, self.type) if more else {}
        refuse_sick(identifier for identifier in more if health[identifier] is False)

    def _write(self, here: Here, weights: Mapping[str, int], expected: Mapping[str, int]) -> Evidence:
        """Set them, and wait until all name servers of the zone have them."""
        records = self._records(here)
        change = records.write(self.zone, self.name, self.type, weights, expected=expected)
        while change and not records.is_in_sync(change):
            here.say("waiting until all name servers have it")
            here.sleep(EVERY)
        return {"change": change, **_facts(self._read(here))}

    def _read(self, here: Here) -> Mapping[str, int]:
        return self._records(here).read(self.zone, self.name, self.type)

    def _records(self, here: Here) -> WeightedRecords:
        return here.reach(CloudAccount, self.account).weighted_records


def _facts(weights: Mapping[str, int]) -> Evidence:
    return {"weights": dict(weights)}


def _weights(facts: Evidence) -> dict[str, int]:
    return msgspec.convert(facts["weights"], dict[str, int])
