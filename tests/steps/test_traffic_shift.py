"""Users between two real websites behind a real HAProxy, and by the weights of real Route 53 calls (LocalStack)."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dr.core.duration import parse_duration
from dr.core.step import InPlace, NotInPlace, Unknown
from dr.shifting import Deviation, ErrorLimit, ShiftedBack
from dr.steps.traffic_shift import Arrivals, TrafficShift
from dr.targets.http_endpoint import Http
from localstack.instance import LocalStack
from tests.haproxy import started, traffic
from tests.here import TestHere, World
from tests.website import Site, website
from tests.zone import Zone

ARRIVALS = Arrivals(target="door", primary="from here", standby="from there")


class Sites:
    """Two sites, and the door to them."""

    def __init__(self, here: Site, there: Site, world: World) -> None:
        self.here, self.there, self.world = here, there, world


@pytest.fixture
def sites() -> Iterator[Sites]:
    with website() as here, website() as there:
        here.body, there.body = b"Welcome from here", b"Welcome from there"
        first, second = (int(site.url.rpartition(":")[2]) for site in (here, there))
        with started(first, second) as (folder, port):
            door = Http(url=f"http://127.0.0.1:{port}")
            yield Sites(here, there, World({"users": traffic(folder), "door": door, "there": Http(url=there.url)}))


def step(**changes: Any) -> TrafficShift:
    given: dict[str, Any] = {
        "router": "users",
        "stages": (10, 50, 100),
        "settle": parse_duration("300ms"),
        "errors": (ErrorLimit(target="there"),),
        "arrivals": ARRIVALS,
        "seen_within": parse_duration("5s"),
    }
    return TrafficShift(**{**given, **changes})


def percent(here: TestHere) -> object:
    return step().preview(here)["standby_percent"]


def test_users_are_seen_to_arrive_at_the_other_site_and_back(sites: Sites) -> None:
    with sites.world.look() as here:
        assert step().observe(here) == NotInPlace({"standby_percent": 0})
    with sites.world.act() as here:
        stages = msgspec.convert(step().apply(here)["stages"], list[dict[str, int]])
        assert [stage["standby_percent"] for stage in stages] == [10, 50, 100]
        seen = step().observe(here)
        assert isinstance(seen, InPlace)
        assert msgspec.convert(seen.evidence["answered_by"], dict[str, int])["primary"] == 0
        asked = sites.here.asked
        assert isinstance(step().observe_undone(here, {"standby_percent": 0}), NotInPlace)
        assert sites.here.asked == asked
        step(to="primary").apply(here)
        assert isinstance(step(to="primary").observe(here), InPlace)


def test_a_page_that_fails_there_before_the_first_stage_gets_no_users(sites: Sites) -> None:
    sites.there.status = 503
    with sites.world.act() as here, pytest.raises(Deviation, match="there / fails: status 503"):
        step().apply(here)
    with sites.world.look() as here:
        assert percent(here) == 0


def test_a_page_that_fails_under_the_load_sends_the_users_back_by_itself(sites: Sites) -> None:
    with sites.world.act() as here:

        def fail(text: str) -> None:
            sites.there.status = 500 if text.startswith("50%") else 200

        here.say = fail  # type: ignore[method-assign]
        with pytest.raises(ShiftedBack, match="shifted back to 0% on the standby: there / fails: status 500"):
            step().apply(here)
        assert percent(here) == 0


def test_a_router_that_says_so_is_not_believed_while_users_arrive_elsewhere(sites: Sites) -> None:
    sites.there.body = sites.here.body
    with sites.world.act() as here:
        step().apply(here)
        seen = step(seen_within=parse_duration("100ms")).observe(here)
        assert isinstance(seen, NotInPlace)
        assert "100% should go to the standby; answered: 0 by the standby" in str(seen.evidence["findings"])
        sites.there.body = b"no word of where"
        assert isinstance(step(seen_within=parse_duration("100ms")).observe(here), Unknown)


def test_an_undo_takes_the_users_back_and_is_harmless_when_repeated(sites: Sites) -> None:
    with sites.world.act() as here:
        step().apply(here)
        for _ in range(2):
            step().undo(here, {"standby_percent": 0})
        assert isinstance(step().observe_undone(here, {"standby_percent": 0}), InPlace)


@pytest.mark.usefixtures("aws_credentials")
def test_weights_are_set_in_stages_at_the_zone_and_undone(localstack: LocalStack, sites: Sites) -> None:
    zone = Zone(localstack, {"here": 100, "there": 0})
    weights: list[dict[str, int]] = []
    with by_weights(zone, localstack, sites).act() as here:
        here.say = lambda _: weights.append(zone.weights())  # type: ignore[method-assign,assignment]
        step(arrivals=None).apply(here)
        assert weights == [{"here": 90, "there": 10}, {"here": 50, "there": 50}, {"here": 0, "there": 100}]
        assert step(arrivals=None).observe(here) == InPlace({"standby_percent": 100})
        step(arrivals=None).undo(here, {"standby_percent": 0})
    assert zone.weights() == {"here": 100, "there": 0}


@pytest.mark.usefixtures("aws_credentials")
def test_weights_are_set_back_by_itself_when_the_page_fails(localstack: LocalStack, sites: Sites) -> None:
    """In a zone of its own: LocalStack refuses to create a record that it has created before, deleted or not."""
    zone = Zone(localstack, {"here": 100, "there": 0})
    with by_weights(zone, localstack, sites).act() as here:
        here.say = lambda _: setattr(sites.there, "status", 500)  # type: ignore[method-assign,assignment]
        with pytest.raises(ShiftedBack):
            step(arrivals=None).apply(here)
    assert zone.weights() == {"here": 100, "there": 0}


def by_weights(zone: Zone, localstack: LocalStack, sites: Sites) -> World:
    return World({"users": zone.traffic(localstack), "there": Http(url=sites.there.url)})


@pytest.mark.usefixtures("aws_credentials")
def test_a_zone_that_answers_with_a_third_site_is_not_shifted(localstack: LocalStack) -> None:
    zone = Zone(localstack, {"here": 100, "there": 0, "elsewhere": 1})
    alone = step(errors=(), arrivals=None)
    with World({"users": zone.traffic(localstack)}).act() as here, pytest.raises(LookupError, match="too: elsewhere"):
        alone.apply(here)
    assert zone.weights() == {"here": 100, "there": 0, "elsewhere": 1}


def test_its_plan_says_what_sends_the_users_back_and_what_is_not_looked_at() -> None:
    assert step().summary() == (
        "Shift the traffic of users to the standby: 10%, 50%, 100%, each watched for 300ms; back if there / fails"
    )
    assert step(arrivals=None, errors=()).summary().endswith("300ms; where it arrives is not looked at")
