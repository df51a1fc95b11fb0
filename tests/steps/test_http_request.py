from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dr.core.duration import Duration, decode_hook
from dr.core.step import InPlace, NotInPlace, Unknown
from dr.core.tolerance import Accepts
from dr.steps.http_request import Ask, HttpRequestStep, RequestRefused, Tell
from dr.targets.http_endpoint import HttpApi
from dr.targets.protocols import TargetUnreachable
from tests.here import RUN, World
from tests.service import Service, service

MAINTENANCE = "/edge/maintenance"
ON, OFF = {"on": True}, Tell(path=MAINTENANCE, method="DELETE")


@pytest.fixture
def edge() -> Iterator[Service]:
    with service() as serving:
        yield serving


@pytest.fixture
def world(edge: Service) -> World:
    secrets = {"env:TOKEN": "s3cr3t-token", "env:KEY": "s3cr3t-key"}
    config = HttpApi(url=f"{edge.url}/edge", bearer="env:TOKEN", secret_headers={"X-Api-Key": "env:KEY"})
    return World({"edge": config}, secrets)


def step(**more: Any) -> HttpRequestStep:
    check = Ask(path="/maintenance", body=Accepts(regex='"on": ?true'))
    change = Tell(path="/maintenance", method="PUT", json=ON)
    back = Tell(path="/maintenance", method="DELETE")
    return HttpRequestStep(**{"service": "edge", "check": check, "change": change, "back": back, **more})


def test_a_change_is_told_seen_and_undone(world: World, edge: Service) -> None:
    before = world.observe(step())
    assert before == NotInPlace({"status": 404})
    with world.act() as here:
        assert step().apply(here) == {"status": 201}
        assert step().observe(here) == InPlace({"status": 200})
        assert step().observe_undone(here, {"status": 404}) == NotInPlace({"status": 200})
        assert step().undo(here, {"status": 404}) == {"status": 201}
        assert step().observe_undone(here, {"status": 404}) == InPlace({"status": 404})
    assert edge.kept == {}


def test_a_service_that_says_yes_and_does_nothing_is_found_out(world: World, edge: Service) -> None:
    """Safety rule 2."""
    edge.lies = True
    with world.act() as here:
        assert step().apply(here) == {"status": 201}
    assert world.settle(step()) == NotInPlace({"status": 404})


@pytest.mark.parametrize("status", [500, 503, 401, 429])
def test_an_answer_that_says_nothing_is_doubt(world: World, edge: Service, status: int) -> None:
    """Safety rule 3: not even when it would be what an undo waits for."""
    edge.answers = [status, status]
    assert isinstance(world.observe(step()), Unknown)
    with world.act() as here:
        assert isinstance(step().observe_undone(here, {}), Unknown)


def test_a_refused_change_is_told_with_its_status(world: World, edge: Service) -> None:
    edge.answers = [409]
    with world.act() as here, pytest.raises(RequestRefused, match="edge PUT /maintenance: status 409, expected is"):
        step().apply(here)


def test_secrets_are_sent_as_headers_and_masked(world: World, edge: Service) -> None:
    world.observe(step())
    headers = edge.asked[0].headers
    assert (headers["Authorization"], headers["X-Api-Key"]) == ("Bearer s3cr3t-token", "s3cr3t-key")
    assert world.masked == {"s3cr3t-token", "s3cr3t-key"}


def test_all_attempts_carry_one_key_and_the_undo_another(world: World, edge: Service) -> None:
    with world.act() as here:
        step().apply(here)
        step().apply(here)
        step().undo(here, {})
    keys = [asked.headers["Idempotency-Key"] for asked in edge.asked]
    assert keys == [f"dr:{RUN}:step", f"dr:{RUN}:step", f"dr:{RUN}:step:undo"]


def test_what_takes_a_while_is_waited_for_after_the_change_only(world: World, edge: Service) -> None:
    patient = step(seen_within=Duration(30), every=Duration(0.01))
    assert world.observe(patient) == NotInPlace({"status": 404})
    assert len(edge.asked) == 1
    edge.kept[MAINTENANCE] = b'{"on": true}'
    edge.answers = [404, 503, 404]
    assert world.settle(patient) == InPlace({"status": 200})


def test_a_service_that_is_gone_is_unreachable() -> None:
    gone = World({"edge": HttpApi(url="http://127.0.0.1:1")})
    with gone.look() as here, pytest.raises(TargetUnreachable):
        step().observe(here)


def test_without_a_way_back_it_is_a_point_of_no_return() -> None:
    assert (step().reverses(), step(back=None).reverses()) == ("undo", "impossible")


def test_the_preview_asks_and_changes_nothing(world: World, edge: Service) -> None:
    with world.look() as here:
        assert step().preview(here) == {"status": 404}
    assert [asked.method for asked in edge.asked] == ["GET"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": {"Authorization": "Bearer hunter2"}},
        {"headers": {"x-api-key": "hunter2"}},
        {"headers": {"X-Note": "two\r\nlines"}},
        {"json": {}, "text": ""},
        {"method": "GET"},
        {"path": "no-slash"},
    ],
)
def test_a_request_that_makes_no_sense_or_holds_a_secret_is_refused(wrong: dict[str, Any]) -> None:
    right = {"service": "edge", "check": {"path": "/"}, "change": {"path": "/"}}
    assert msgspec.convert(right, HttpRequestStep, dec_hook=decode_hook)
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({**right, "change": {"path": "/", **wrong}}, HttpRequestStep, dec_hook=decode_hook)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("wrong", [{"bearer": "hunter2"}, {"secret_headers": {"X-Key": "hunter2"}}])
def test_a_secret_in_a_target_is_a_reference(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({"type": "http-api", "url": "http://edge", **wrong}, HttpApi)
    assert "hunter2" not in str(refused.value)


def test_the_summary_says_what_is_told_and_what_is_waited_for() -> None:
    assert step().summary() == 'PUT /maintenance on edge, until /maintenance answers 200 with matching /"on": ?true/'
