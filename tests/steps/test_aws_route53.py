"""Against real Route 53 calls, answered by LocalStack."""

from typing import Any

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.steps.aws_route53 import AwsRoute53Shift
from dr.targets.protocols import Conflict
from localstack.instance import LocalStack
from tests.here import World
from tests.zone import NAME, Zone


@pytest.fixture
def zone(localstack: LocalStack) -> Zone:
    return Zone(localstack, {"primary": 100, "standby": 0})


def step(zone: Zone, **more: Any) -> AwsRoute53Shift:
    weights = {"primary": 0, "standby": 100}
    return AwsRoute53Shift(**{"account": "cloud", "zone": zone.id, "name": NAME, "weights": weights, **more})


BEFORE = {"weights": {"primary": 100, "standby": 0}}
AFTER = {"weights": {"primary": 0, "standby": 100}}


def test_traffic_is_shifted_at_the_zone_and_back(cloud: World, zone: Zone) -> None:
    ttl = [record["TTL"] for record in zone.records()]
    with cloud.look() as here:
        assert step(zone).preview(here) == BEFORE
        assert step(zone).observe(here) == NotInPlace(BEFORE)
    with cloud.act() as here:
        assert step(zone).apply(here)["weights"] == AFTER["weights"]
        step(zone).apply(here)
        assert step(zone).observe(here) == InPlace(AFTER)
        assert step(zone).observe_undone(here, BEFORE) == NotInPlace(AFTER)
        step(zone).undo(here, BEFORE)
        step(zone).undo(here, BEFORE)
        assert step(zone).observe_undone(here, BEFORE) == InPlace(BEFORE)
    assert [record["TTL"] for record in zone.records()] == ttl


def test_a_record_that_is_not_named_keeps_its_weight(cloud: World, zone: Zone) -> None:
    zone.put("canary", 5)
    with cloud.act() as here:
        step(zone).apply(here)
        assert zone.weights() == {"canary": 5, "primary": 0, "standby": 100}
        step(zone).undo(here, {"weights": {"canary": 5, "primary": 100, "standby": 0}})
    assert zone.weights() == {"canary": 5, "primary": 100, "standby": 0}


def test_a_shift_to_nowhere_is_refused(cloud: World, zone: Zone) -> None:
    with cloud.act() as here, pytest.raises(LookupError, match="with all weights 0, Route 53 would"):
        step(zone, weights={"primary": 0}).apply(here)
    assert zone.weights() == BEFORE["weights"]


def test_an_unknown_record_is_refused_and_nothing_is_set(cloud: World, zone: Zone) -> None:
    with cloud.act() as here, pytest.raises(LookupError, match="has no record standbye, only primary, standby"):
        step(zone, weights={"primary": 0, "standbye": 100}).apply(here)
    assert zone.weights() == BEFORE["weights"]


def test_an_undo_leaves_what_somebody_else_has_set_since(cloud: World, zone: Zone) -> None:
    with cloud.act() as here:
        step(zone).apply(here)
        zone.put("standby", 50)
        with pytest.raises(Conflict, match="changed by somebody else"):
            step(zone).undo(here, BEFORE)
    assert zone.weights() == {"primary": 0, "standby": 50}


def test_a_name_without_weighted_records_is_told(cloud: World, zone: Zone) -> None:
    for name in ("none.example.org", f"z.{NAME}"):
        with cloud.look() as here, pytest.raises(LookupError, match="has no weighted A records"):
            step(zone, name=name).observe(here)


def test_as_many_records_as_a_name_may_have_are_found(cloud: World, localstack: LocalStack) -> None:
    zone = Zone(localstack, {f"site-{number:03}": 1 for number in range(100)})
    with cloud.look() as here:
        seen = step(zone, weights={"site-099": 1, "site-000": 1}).observe(here)
    assert isinstance(seen, InPlace)
    assert len(msgspec.convert(seen.evidence["weights"], dict[str, int])) == 100


@pytest.mark.parametrize("weights", [{}, {"primary": -1}, {"primary": 256}])
def test_a_weight_is_from_0_to_255(weights: dict[str, int]) -> None:
    right: dict[str, Any] = {"account": "cloud", "zone": "Z1", "name": NAME, "weights": {"primary": 0}}
    assert msgspec.convert(right, AwsRoute53Shift)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**right, "weights": weights}, AwsRoute53Shift)
