"""Against real Route 53 calls, answered by LocalStack."""

import uuid
from typing import Any

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.steps.aws_route53 import AwsRoute53Shift
from dr.targets.cloud import NotReady
from dr.targets.protocols import Conflict
from dr.targets.transport.aws_records import healthy
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


def test_a_record_whose_health_check_fails_is_given_no_traffic(cloud: World, zone: Zone) -> None:
    zone.checked("standby", 0, Inverted=True)
    with cloud.act() as here, pytest.raises(NotReady, match="the health check of standby fails"):
        step(zone).apply(here)
    assert zone.weights() == BEFORE["weights"]


def test_traffic_goes_where_the_health_check_is_well_and_the_record_keeps_it(cloud: World, zone: Zone) -> None:
    check = zone.checked("standby", 0)
    zone.checked("primary", 100, Inverted=True)  # it is being left, and may well be sick
    with cloud.act() as here:
        step(zone).apply(here)
        assert step(zone).observe(here) == InPlace(AFTER)
        step(zone).undo(here, BEFORE)  # back is back, whatever the checks say by now
    assert {record["SetIdentifier"]: record["HealthCheckId"] for record in zone.records()}["standby"] == check
    assert zone.weights() == BEFORE["weights"]


def test_a_health_check_that_does_not_tell_what_it_sees_is_left_to_route_53(cloud: World, zone: Zone) -> None:
    zone.checked(
        "standby", 0, Type="CALCULATED", HealthThreshold=1, ChildHealthChecks=[uuid.uuid4().hex], Inverted=True
    )
    with cloud.act() as here:
        step(zone).apply(here)
    assert zone.weights() == AFTER["weights"]


@pytest.mark.parametrize(
    "rules, well, checkers, verdict",
    [
        ({}, 16, 16, True),
        ({}, 3, 16, True),
        ({}, 2, 16, False),
        ({}, 0, 0, None),
        ({"Inverted": True}, 16, 16, False),
        ({"Inverted": True}, 2, 16, True),
        ({"Disabled": True}, 0, 16, True),
        ({"Disabled": True, "Inverted": True}, 0, 16, False),
    ],
)
def test_an_endpoint_is_well_when_enough_checkers_say_so(
    rules: dict[str, Any], well: int, checkers: int, verdict: bool | None
) -> None:
    failing = "Failure: Connection timed out. The endpoint or the internet connection is down"
    reports = ["Success: HTTP Status Code 200, OK"] * well + [failing] * (checkers - well)
    assert healthy(rules, reports) == verdict


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
